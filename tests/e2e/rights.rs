//! What the manifests let the program do, asked of the API server in its name.

use serde_json::json;

use crate::{
    api::Api,
    webhook::{ACCOUNT, NAMESPACE, shared},
};

/// A request: verb, group, resource, namespace and name, empty where it is for all.
type Access = [&'static str; 5];

const CONFIGURATIONS: [&str; 2] = ["admissionregistration.k8s.io", "mutatingwebhookconfigurations"];
const SECRET: &str = "eks-pod-identity-webhook-tls";

#[tokio::test]
async fn the_program_may_do_its_work_and_nothing_else() {
    let Some(cluster) = shared().await else { return };
    let api = cluster.api_of_program().await;
    let [group, configurations] = CONFIGURATIONS;
    for access in [
        ["list", "", "serviceaccounts", "", ""],
        ["watch", "", "serviceaccounts", "", ""],
        ["get", "", "secrets", NAMESPACE, SECRET],
        ["watch", "", "secrets", NAMESPACE, SECRET],
        ["update", "", "secrets", NAMESPACE, SECRET],
        ["get", group, configurations, "", ACCOUNT],
        ["watch", group, configurations, "", ACCOUNT],
        ["patch", group, configurations, "", ACCOUNT],
    ] {
        assert!(may(&api, access).await, "{access:?}");
    }
    for access in [
        ["get", "", "serviceaccounts", "", ""],
        ["create", "", "serviceaccounts/token", "", ""],
        ["impersonate", "", "serviceaccounts", "", ""],
        ["get", "", "secrets", NAMESPACE, "another"],
        ["get", "", "secrets", "kube-system", SECRET],
        ["list", "", "secrets", NAMESPACE, ""],
        ["create", "", "secrets", NAMESPACE, ""],
        ["delete", "", "secrets", NAMESPACE, SECRET],
        ["patch", group, configurations, "", "another"],
        ["update", group, configurations, "", ACCOUNT],
        ["delete", group, configurations, "", ACCOUNT],
        ["list", group, configurations, "", ""],
        ["list", "", "pods", "", ""],
        ["list", "", "namespaces", "", ""],
        ["get", "", "configmaps", NAMESPACE, ""],
        ["create", "", "events", NAMESPACE, ""],
        ["get", "rbac.authorization.k8s.io", "clusterroles", "", ACCOUNT],
    ] {
        assert!(!may(&api, access).await, "{access:?}");
    }
}

async fn may(api: &Api, [verb, group, resource, namespace, name]: Access) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource,
            "namespace": namespace, "name": name,
        }},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    api.create(path, &review).await.unwrap()["status"]["allowed"] == true
}
