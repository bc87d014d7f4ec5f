//! Roles that a ConfigMap gives, and container credentials, on a real API server with the rights that the chart gives for it.

use serde_json::{Value, json};

use crate::{
    api::Api,
    control_plane::ControlPlane,
    harness::{Test, tests},
    identity,
    pods::pod,
    support::ROLE,
    wait::eventually,
    webhook::{Cluster, NAMESPACE},
};

pub(crate) const TESTS: &[Test] =
    tests![a_config_map_and_a_file_decide_what_accounts_without_a_role_are_given];

async fn a_config_map_and_a_file_decide_what_accounts_without_a_role_are_given() {
    let plane = ControlPlane::start("mapping").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"identities": [{"namespace": "mapped-1", "serviceAccount": "agent"}]}"#)
        .unwrap();
    let file = format!("--watch-container-credentials-config={}", file.path().display());
    let manifests = "tests/fixtures/rendered/config-map.yaml";
    let cluster = Cluster::install_replicas(plane, manifests, 1, &[&file]).await;
    let api = cluster.api().await;
    api.create_namespace("mapped-1").await;
    api.create_account("mapped-1", "agent", &json!({})).await;
    assert_eq!(identity::of(&create(&api, "before", "plain").await), identity::none(&["app"]));

    let config = json!({"mapped-*/*": {"roleArn": ROLE}}).to_string();
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "pod-identity-webhook", "namespace": NAMESPACE}, "data": {"config": config}});
    api.apply(&config_map).await.unwrap();
    let mapped = r#"accounts{state="mapped"}"#;
    eventually("it is mapped", async || cluster.metric(mapped).await > 0.0).await;
    assert_eq!(identity::of(&create(&api, "with", "plain").await), identity::given("with", &["app"]));

    let stored = create(&api, "contained", "agent").await;
    assert_eq!(stored["metadata"]["labels"]["eks.amazonaws.com/pod-identity"], "enabled");
    let env = &stored["spec"]["containers"][0]["env"];
    assert_eq!(env[0]["name"], "AWS_CONTAINER_CREDENTIALS_FULL_URI");
    assert_eq!(
        identity::of(&stored)["volumes"],
        json!({"eks-pod-identity-token": "pods.eks.amazonaws.com 3600"})
    );

    api.delete(&format!("/api/v1/namespaces/{NAMESPACE}/configmaps/pod-identity-webhook")).await.unwrap();
    eventually("it is mapped no more", async || cluster.metric(mapped).await == 0.0).await;
    assert_eq!(identity::of(&create(&api, "after", "plain").await), identity::none(&["app"]));
    assert_eq!(cluster.metric(r#"role_mapping_errors_total{reason="watch"}"#).await, 0.0);
}

async fn create(api: &Api, name: &str, account: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["serviceAccountName"] = json!(account);
    api.create_pod("mapped-1", &pod).await.unwrap()
}
