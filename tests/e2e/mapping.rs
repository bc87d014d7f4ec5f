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

pub(crate) const TESTS: &[Test] = tests![
    a_config_map_and_a_file_decide_what_accounts_without_a_role_are_given,
    a_namespace_is_given_only_the_roles_of_the_config_map_that_it_permits
];

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

/// `rolePolicy` with a default of `arn:…:role/tenants/{namespace}/*`, as far as the program applies it, and the rights that the chart
/// gives for it.
async fn a_namespace_is_given_only_the_roles_of_the_config_map_that_it_permits() {
    let plane = ControlPlane::start("mapping-role-policy").await;
    let manifests = "tests/fixtures/rendered/role-policy-mappings.yaml";
    let cluster = Cluster::install_replicas(plane, manifests, 1, &[]).await;
    let api = cluster.api().await;
    let config = json!({"mapped-*/*": {"roleArn": ROLE}}).to_string();
    let config_map = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "pod-identity-webhook", "namespace": NAMESPACE}, "data": {"config": config}});
    api.apply(&config_map).await.unwrap();
    api.create_namespace("mapped-1").await;
    // The default does not permit the role, and the creator of the pod is warned.
    let path = "/api/v1/namespaces/mapped-1/pods?dryRun=All";
    let mut plain = pod("plain");
    plain["spec"]["serviceAccountName"] = json!("plain");
    let warning = "namespace mapped-1 permits arn:aws:iam::111122223333:role/tenants/mapped-1/*";
    eventually("it is refused", async || {
        let response = api.create_raw(path, &plain).await;
        let mut warnings = response.headers().get_all("warning").iter();
        response.status() == 201 && warnings.any(|text| text.to_str().unwrap().contains(warning))
    })
    .await;
    assert_eq!(identity::of(&create(&api, "refused", "plain").await), identity::none(&["app"]));

    let permitted = json!({"metadata": {"annotations": {"eks.amazonaws.com/permitted-roles": ROLE}}});
    api.merge("/api/v1/namespaces/mapped-1", &permitted).await.unwrap();
    let mapped = r#"accounts{state="mapped"}"#;
    eventually("it is permitted", async || cluster.metric(mapped).await > 0.0).await;
    assert_eq!(identity::of(&create(&api, "given", "plain").await), identity::given("given", &["app"]));

    // Namespaces, accounts and pods right behind each other: each has the role, and none is refused.
    for index in 0..20 {
        let namespace = format!("mapped-new-{index}");
        let object =
            json!({"metadata": {"name": namespace, "annotations": permitted["metadata"]["annotations"]}});
        api.create("/api/v1/namespaces", &object).await.unwrap();
        api.create_account(&namespace, "plain", &json!({})).await;
        let stored = api.create_pod(&namespace, &plain).await.unwrap();
        assert_eq!(identity::of(&stored), identity::given("plain", &["app"]), "{namespace}");
    }
}

async fn create(api: &Api, name: &str, account: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["serviceAccountName"] = json!(account);
    api.create_pod("mapped-1", &pod).await.unwrap()
}
