//! The ways in which pods are written beside a plain creation.

use serde_json::json;

use crate::{
    harness::{Test, tests},
    identity,
    pods::{has_role, pod},
    webhook::shared,
};

pub(crate) const TESTS: &[Test] = tests![
    a_dry_run_shows_the_identity_and_stores_nothing,
    a_second_server_side_apply_changes_nothing,
    an_update_of_a_pod_is_left_alone
];

async fn a_dry_run_shows_the_identity_and_stores_nothing() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("dry-run").await;
    let pods = "/api/v1/namespaces/dry-run/pods";
    let shown = api.create(&format!("{pods}?dryRun=All"), &pod("dry")).await.unwrap();
    assert_eq!(identity::of(&shown), identity::given("dry", &["app"]));
    assert_eq!(api.get(pods).await.unwrap()["items"], json!([]));
}

async fn a_second_server_side_apply_changes_nothing() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("apply").await;
    let mut pod = pod("applied");
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"]["namespace"] = json!("apply");
    let first = api.apply(&pod).await.unwrap();
    assert_eq!(identity::of(&first), identity::given("applied", &["app"]));
    let second = api.apply(&pod).await.unwrap();
    assert_eq!(first, second);
    // Another change by the same client succeeds, and the identity stays.
    pod["metadata"]["labels"] = json!({"changed": "yes"});
    let third = api.apply(&pod).await.unwrap();
    assert_eq!((third["metadata"]["labels"]["changed"].as_str(), has_role(&third)), (Some("yes"), true));
}

async fn an_update_of_a_pod_is_left_alone() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("updates").await;
    let mut unannotated = pod("updated");
    unannotated["spec"]["serviceAccountName"] = json!("plain");
    api.create_pod("updates", &unannotated).await.unwrap();
    let role = json!({"metadata": {"annotations": {crate::support::ROLE_ANNOTATION: crate::support::ROLE}}});
    api.merge("/api/v1/namespaces/updates/serviceaccounts/plain", &role).await.unwrap();
    let labels = json!({"metadata": {"labels": {"changed": "yes"}}});
    let changed = api.merge("/api/v1/namespaces/updates/pods/updated", &labels).await.unwrap();
    assert_eq!(identity::of(&changed), identity::none(&["app"]));
}
