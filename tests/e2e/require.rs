//! Pods that ask to fail closed, by their label: the chart's `requirePodIdentity`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    api::Api,
    control_plane::ControlPlane,
    harness::{Test, tests},
    identity,
    pods::{has_role, pod},
    webhook::Cluster,
};

pub(crate) const TESTS: &[Test] = tests![a_pod_that_requires_an_identity_has_one_or_is_refused];

async fn a_pod_that_requires_an_identity_has_one_or_is_refused() {
    let plane = ControlPlane::start("require").await;
    let manifests = "tests/fixtures/rendered/require-pod-identity.yaml";
    let mut cluster = Cluster::install(plane, manifests).await;
    let api = cluster.api().await;
    api.create_namespace("require").await;

    assert!(has_role(&api.create_pod("require", &requiring("api")).await.unwrap()));
    assert!(has_role(&api.create_pod("require", &pod("others")).await.unwrap()));
    // Its account has no role.
    let refusal = refusal(&api, &requiring("plain")).await;
    assert!(refusal.contains("asks for an AWS identity, but the pod was given none"), "{refusal}");

    cluster.kill_program();
    let mut requiring = requiring("api");
    requiring["metadata"]["name"] = json!("while-it-is-away");
    let error = api.create_pod("require", &requiring).await.unwrap_err().to_string();
    assert!(error.contains("failed calling webhook"), "{error}");
    let other = api.create_pod("require", &pod("others-while-it-is-away")).await.unwrap();
    assert_eq!(identity::of(&other), identity::none(&["app"]));
}

fn requiring(account: &str) -> Value {
    let mut pod = pod(&format!("requiring-{account}"));
    pod["metadata"]["labels"] = json!({"eks.amazonaws.com/require-pod-identity": "true"});
    pod["spec"]["serviceAccountName"] = json!(account);
    pod
}

/// What the API server says when it refuses the pod, once it has read the policy.
async fn refusal(api: &Api, pod: &Value) -> String {
    for _ in 0..1000 {
        if let Err(error) = api.create("/api/v1/namespaces/require/pods?dryRun=All", pod).await {
            return error.to_string();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not refused within 20 s");
}
