//! Which namespaces and pods the selectors of a configuration match.

use serde_json::Value;

use super::{Read, entries};
use crate::{
    kube::fields::{self, text},
    report::Finding,
};

const CHECK: &str = "selectors";

/// Whether a label selector matches these labels. An empty one matches all.
pub(super) fn matches(selector: &Value, labels: &Value) -> bool {
    let wanted = selector["matchLabels"].as_object().into_iter().flatten();
    let mut expressions = fields::list(selector, "/matchExpressions").iter();
    wanted.into_iter().all(|(key, value)| labels[key] == *value)
        && expressions.all(|expression| {
            let label = labels.get(text(expression, "/key")).unwrap_or(&Value::Null);
            let is_among = fields::list(expression, "/values").contains(label);
            match text(expression, "/operator") {
                "In" => is_among,
                "NotIn" => !is_among,
                "Exists" => !label.is_null(),
                _ => label.is_null(),
            }
        })
}

/// Whether the webhook is called for the cluster's namespaces, and for `wanted`.
pub(crate) fn namespaces(configuration: &Value, list: &Read<Value>, wanted: Option<&str>) -> Vec<Finding> {
    const RULE: &str = "{apiGroups: [\"\"], resources: [namespaces], verbs: [list]}";
    let list = match list {
        Ok(list) => fields::list(list, "/items"),
        Err(unread) => return vec![unread.finding(CHECK, "namespaces", RULE, "")],
    };
    let is_asked = |namespace: &Value| {
        entries(configuration)
            .any(|entry| matches(&entry["namespaceSelector"], &namespace["metadata"]["labels"]))
    };
    let name = |namespace: &Value| text(namespace, "/metadata/name").to_owned();
    let left_out: Vec<_> = list.iter().filter(|namespace| !is_asked(namespace)).map(name).collect();
    let remedy =
        "change namespaceSelector (webhook.namespaceSelector, webhook.excludedNamespaces of the chart)";
    if left_out.len() == list.len() {
        return vec![Finding::fail(CHECK, "every namespace is excluded", remedy)];
    }
    if let Some(wanted) = wanted.filter(|wanted| left_out.iter().any(|name| name == wanted)) {
        return vec![Finding::fail(CHECK, format!("the namespace {wanted} is excluded"), remedy)];
    }
    let asked = list.len() - left_out.len();
    let named = left_out.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if left_out.len() > 5 { format!(" and {} more", left_out.len() - 5) } else { String::new() };
    let named = if named.is_empty() { "none".to_owned() } else { named };
    vec![Finding::pass(
        CHECK,
        format!("{asked} of {} namespaces are covered; excluded: {named}{more}", list.len()),
    )]
}

/// Whether the webhook is called for a pod without labels.
pub(crate) fn objects(configuration: &Value) -> Option<Finding> {
    let any = entries(configuration).any(|entry| matches(&entry["objectSelector"], &Value::Null));
    let remedy = "change objectSelector, unless only pods with its labels are meant";
    (!any).then(|| Finding::warn(CHECK, "the webhook is called only for pods with certain labels", remedy))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{commands::doctor::checks::configuration::tests::entry, report::Level};

    #[test]
    fn selectors_are_those_of_kubernetes() {
        let labels = json!({"a": "1"});
        let expression = |key: &str, operator: &str, values: &[&str]| {
            matches(
                &json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}),
                &labels,
            )
        };
        assert!(matches(&json!({}), &labels) && matches(&Value::Null, &Value::Null));
        assert!(matches(&json!({"matchLabels": {"a": "1"}}), &labels));
        assert!(!matches(&json!({"matchLabels": {"a": "2"}}), &labels));
        assert!(!matches(&json!({"matchLabels": {"a": "1"}}), &Value::Null));
        assert!(expression("a", "In", &["1"]) && !expression("b", "In", &["1"]));
        assert!(!expression("a", "NotIn", &["1"]) && expression("b", "NotIn", &["1"]));
        assert!(expression("a", "Exists", &[]) && !expression("b", "Exists", &[]));
        assert!(!expression("a", "DoesNotExist", &[]) && expression("b", "DoesNotExist", &[]));
    }

    #[test]
    fn excluded_namespaces_and_pods_are_reported() {
        let configuration = json!({"webhooks": [entry()]});
        let list = |names: &[&str]| {
            let items = names.iter().map(
                |name| json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}),
            );
            Ok(json!({"items": items.collect::<Vec<_>>()}))
        };
        let all = list(&["own", "kube-system", "payments"]);
        let finding = &namespaces(&configuration, &all, Some("payments"))[0];
        assert_eq!(
            (finding.level, &*finding.found),
            (Level::Pass, "1 of 3 namespaces are covered; excluded: own, kube-system")
        );
        assert_eq!(namespaces(&configuration, &all, Some("own"))[0].found, "the namespace own is excluded");
        assert_eq!(namespaces(&configuration, &list(&["own"]), None)[0].found, "every namespace is excluded");
        assert!(objects(&configuration).is_none());
        let mut labelled = entry();
        labelled["objectSelector"] = json!({"matchLabels": {"a": "b"}});
        assert!(objects(&json!({"webhooks": [labelled]})).is_some());
    }
}
