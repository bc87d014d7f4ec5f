//! The webhook configuration: when the API server calls the webhook, and what it does without an answer.

use serde_json::Value;

use super::{Read, selector};
use crate::{
    kube::fields::{self, number, text},
    report::Finding,
};

/// The rule that allows reading configurations.
pub(crate) const CONFIGURATIONS_RULE: &str =
    "{apiGroups: [admissionregistration.k8s.io], resources: [mutatingwebhookconfigurations], verbs: [list]}";

const CHECK: &str = "configuration";

/// The configuration of this name in a list.
pub(crate) fn find<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    fields::list(list, "/items").iter().find(|item| text(item, "/metadata/name") == name)
}

/// The entries of a configuration.
pub(crate) fn entries(configuration: &Value) -> impl Iterator<Item = &Value> {
    fields::list(configuration, "/webhooks").iter()
}

/// The Service that an entry calls: namespace, name and port.
pub(crate) fn service_of(entry: &Value) -> Option<(&str, &str, u64)> {
    let service = entry.pointer("/clientConfig/service")?;
    Some((text(service, "/namespace"), text(service, "/name"), number(service, "/port").unwrap_or(443)))
}

/// Whether an entry matches the creation of pods.
pub(super) fn is_of_pods(entry: &Value) -> bool {
    let has = |rule: &Value, field: &str, wanted: &str| {
        fields::list(rule, field).iter().any(|one| [wanted, "*", "*/*"].iter().any(|known| one == known))
    };
    fields::list(entry, "/rules").iter().any(|rule| {
        has(rule, "/apiGroups", "") && has(rule, "/operations", "CREATE") && has(rule, "/resources", "pods")
    })
}

/// Checks the configuration of this name in the list. `own` is the namespace that the webhook runs in.
pub(crate) fn configuration(list: &Read<Value>, name: &str, own: &str) -> Vec<Finding> {
    let missing = "install the webhook, or name its configuration with --webhook-configuration-name";
    let list = match list {
        Ok(list) => list,
        Err(unread) => return vec![unread.finding(CHECK, name, CONFIGURATIONS_RULE, missing)],
    };
    let Some(configuration) = find(list, name) else {
        return vec![Finding::fail(CHECK, format!("{name}: there is none"), missing)];
    };
    let mut findings: Vec<_> = entries(configuration).flat_map(|entry| entry_of(entry, own)).collect();
    if !entries(configuration).any(is_of_pods) {
        let remedy = "apply the chart's: rules with CREATE of pods";
        findings.push(Finding::fail(CHECK, format!("{name}: no entry matches the creation of pods"), remedy));
    }
    if findings.is_empty() {
        let policies = entries(configuration).map(|entry| {
            let [name, policy] = ["/name", "/failurePolicy"].map(|field| text(entry, field));
            format!("{name} (failurePolicy {policy}, {} s)", timeout(entry))
        });
        findings.push(Finding::pass(CHECK, policies.collect::<Vec<_>>().join(", ")));
    }
    findings
}

fn entry_of(entry: &Value, own: &str) -> Vec<Finding> {
    let name = text(entry, "/name");
    let mut findings = Vec::new();
    if text(entry, "/failurePolicy") == "Fail" {
        let asked = |namespace: &str| {
            let labels = serde_json::json!({"kubernetes.io/metadata.name": namespace});
            selector::matches(&entry["namespaceSelector"], &labels)
                && selector::matches(&entry["objectSelector"], &Value::Null)
        };
        if asked(own) {
            let found = format!("{name}: failurePolicy Fail also applies to its own namespace {own}");
            let remedy =
                "leave its namespace out by namespaceSelector: else no replica can start once none is left";
            findings.push(Finding::fail(CHECK, found, remedy));
        }
        if asked("kube-system") {
            let found = format!("{name}: failurePolicy Fail also applies to kube-system");
            let remedy = "exclude kube-system by namespaceSelector: the webhook itself depends on pods there";
            findings.push(Finding::warn(CHECK, found, remedy));
        }
    }
    let seconds = timeout(entry);
    if !(2..=15).contains(&seconds) {
        let remedy = "set timeoutSeconds to 2 to 15: less leaves no time for a second attempt, more delays every pod in an outage";
        findings.push(Finding::warn(CHECK, format!("{name}: timeoutSeconds {seconds}"), remedy));
    }
    findings
}

/// The timeout of an entry, in seconds; the default is 10.
fn timeout(entry: &Value) -> u64 {
    number(entry, "/timeoutSeconds").unwrap_or(10)
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::{commands::doctor::checks::Unread, report::Level};

    /// An entry as the chart has it.
    pub(in crate::commands::doctor::checks) fn entry() -> Value {
        json!({
            "name": "pod-identity.eks.amazonaws.com",
            "clientConfig": {"service": {"name": "hook", "namespace": "own", "port": 443}, "caBundle": ""},
            "rules": [{"apiGroups": [""], "operations": ["CREATE"], "resources": ["pods"]}],
            "failurePolicy": "Ignore",
            "timeoutSeconds": 5,
            "namespaceSelector": {"matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "own"]},
            ]},
        })
    }

    fn found(change: impl FnOnce(&mut Value)) -> Vec<(Level, String)> {
        let mut entry = entry();
        change(&mut entry);
        let list = json!({"items": [{"metadata": {"name": "hook"}, "webhooks": [entry]}]});
        let findings = configuration(&Ok(list), "hook", "own");
        findings.into_iter().map(|finding| (finding.level, finding.found)).collect()
    }

    #[test]
    fn the_charts_configuration_passes() {
        let found = found(|_| {});
        assert_eq!(
            found,
            [(Level::Pass, "pod-identity.eks.amazonaws.com (failurePolicy Ignore, 5 s)".to_owned())]
        );
        assert!(
            crate::commands::doctor::checks::configuration(
                &Err(Unread::Forbidden("no".into())),
                "hook",
                "own"
            )[0]
            .level
                == Level::Skip
        );
        let none = crate::commands::doctor::checks::configuration(&Ok(json!({"items": []})), "hook", "own");
        assert_eq!((none[0].level, &*none[0].found), (Level::Fail, "hook: there is none"));
    }

    #[test]
    fn settings_that_cause_outages_are_reported() {
        let levels =
            |change: fn(&mut Value)| found(change).into_iter().map(|(level, _)| level).collect::<Vec<_>>();
        assert_eq!(levels(|entry| entry["failurePolicy"] = json!("Fail")), [Level::Pass]);
        let fails_everywhere = |entry: &mut Value| {
            entry["failurePolicy"] = json!("Fail");
            entry["namespaceSelector"] = json!({});
        };
        assert_eq!(levels(fails_everywhere), [Level::Fail, Level::Warn]);
        assert_eq!(levels(|entry| entry["timeoutSeconds"] = json!(30)), [Level::Warn]);
        assert_eq!(levels(|entry| entry["timeoutSeconds"] = json!(1)), [Level::Warn]);
        assert_eq!(levels(|entry| entry["rules"][0]["operations"] = json!(["UPDATE"])), [Level::Fail]);
    }
}
