//! `kubectl debug`: containers that are added to a pod which runs.

use serde_json::{Value, json};

use crate::{
    harness::{Test, tests},
    identity,
    pods::pod,
    webhook::shared,
};

pub(crate) const TESTS: &[Test] = tests![
    ephemeral_containers_are_given_the_pods_identity,
    a_pod_without_the_volume_is_debugged_without_an_identity
];

async fn ephemeral_containers_are_given_the_pods_identity() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("ephemeral").await;
    api.create_pod("ephemeral", &pod("debugged")).await.unwrap();
    let path = "/api/v1/namespaces/ephemeral/pods/debugged";
    for (name, containers) in
        [("debug-1", vec!["app", "debug-1"]), ("debug-2", vec!["app", "debug-1", "debug-2"])]
    {
        let patch = debug(name);
        api.merge_strategically(&format!("{path}/ephemeralcontainers"), &patch).await.unwrap();
        let stored = api.get(path).await.unwrap();
        assert_eq!(identity::of(&stored), identity::given("debugged", &containers));
    }
}

async fn a_pod_without_the_volume_is_debugged_without_an_identity() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("ephemeral-plain").await;
    let mut plain = pod("debugged");
    plain["spec"]["serviceAccountName"] = json!("plain");
    api.create_pod("ephemeral-plain", &plain).await.unwrap();
    let path = "/api/v1/namespaces/ephemeral-plain/pods/debugged";
    api.merge_strategically(&format!("{path}/ephemeralcontainers"), &debug("debug")).await.unwrap();
    assert_eq!(identity::of(&api.get(path).await.unwrap()), identity::none(&["app", "debug"]));
}

fn debug(name: &str) -> Value {
    json!({"spec": {"ephemeralContainers": [{"name": name, "image": "debug"}]}})
}
