//! Other webhooks for the same annotations: with two of them, a pod is rejected because of its mount path, or has the role
//! of one and the token of the other.

use serde_json::Value;

use super::{configuration::is_of_pods, entries};
use crate::{
    kube::fields::{self, text},
    report::Finding,
};

/// Parts of the names of known webhooks' configurations, Services or entries: the AWS webhook, that of kOps, and a second
/// installation of this one.
const NAMES: [&str; 2] = ["iam-for-pods", "pod-identity"];

/// The configurations in the list, other than that of this name, that look like such a webhook's.
pub(crate) fn conflicting_webhooks(list: &Value, own: &str) -> Vec<Finding> {
    const CHECK: &str = "others";
    let all = fields::list(list, "/items").iter();
    let conflicting = all.filter_map(|configuration| {
        let name = Some(text(configuration, "/metadata/name")).filter(|name| *name != own)?;
        let conflicts = entries(configuration).any(|entry| {
            let names = [name, text(entry, "/name"), text(entry, "/clientConfig/service/name")];
            is_of_pods(entry) && names.iter().any(|name| NAMES.iter().any(|known| name.contains(known)))
        });
        conflicts.then(|| {
            let found = format!("the MutatingWebhookConfiguration {name} is for the same annotations");
            let remedy = "remove one of the two, or separate them by namespaceSelector (docs/install/eks.md)";
            Finding::warn(CHECK, found, remedy)
        })
    });
    let conflicting: Vec<_> = conflicting.collect();
    if conflicting.is_empty() {
        vec![Finding::pass(CHECK, "no other webhook for the same annotations")]
    } else {
        conflicting
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{commands::doctor::checks::configuration::tests::entry, report::Level};

    #[test]
    fn known_webhooks_and_a_second_one_of_ours_are_told() {
        let of = |name: &str, entry_name: &str, resources: &str| {
            let mut entry = entry();
            entry["name"] = json!(entry_name);
            entry["rules"][0]["resources"] = json!([resources]);
            let ours = json!({"metadata": {"name": "ours"}, "webhooks": [crate::commands::doctor::checks::configuration::tests::entry()]});
            let list = json!({"items": [ours, {"metadata": {"name": name}, "webhooks": [entry]}]});
            conflicting_webhooks(&list, "ours")[0].level
        };
        assert_eq!(of("pod-identity-webhook", "iam-for-pods.amazonaws.com", "pods"), Level::Warn);
        assert_eq!(of("x", "pod-identity.eks.amazonaws.com", "pods"), Level::Warn);
        assert_eq!(of("x", "iam-for-pods.amazonaws.com", "*"), Level::Warn);
        assert_eq!(of("istio", "sidecar-injector.istio.io", "pods"), Level::Pass);
        assert_eq!(of("pod-identity-webhook", "x", "deployments"), Level::Pass);
    }
}
