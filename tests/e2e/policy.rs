//! The mode without the program: `deploy/policy` against the expectations that the program meets, and beside it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    api::Api,
    cases::{self, Case},
    control_plane::{ControlPlane, Version, assets},
    harness::{Outcome, Skipped, Test, tests},
    identity,
    pods::pod,
    recorded,
    support::{ROLE, ROLE_ANNOTATION, manifests},
    webhook::Cluster,
};

pub(crate) const TESTS: &[Test] = tests![
    the_policy_gives_what_the_program_gives_and_nothing_when_both_are_asked,
    the_charts_settings_reach_the_policy
];

/// What a user applies who has read `docs/policy.md`.
pub(crate) const DEFAULTS: &str = "deploy/policy/policy.yaml";

async fn the_policy_gives_what_the_program_gives_and_nothing_when_both_are_asked() -> Outcome {
    let plane = control_plane("policy").await?;
    let api = plane.api().await;
    apply(&plane, DEFAULTS).await;
    for namespace in ["policy", "both"] {
        accounts_of_every_kind(&api, namespace).await;
    }
    pods_of_every_kind(&api, "policy").await;
    recorded::create_accounts(&api).await;
    acts(&api, "payments", &pod("probe")).await;
    // CEL knows no hash for its session name.
    assert_eq!(recorded::deviations(&api).await, ["name-long"]);
    copies(&api).await;
    ephemeral_containers(&api).await;

    // Asked second, the program finds nothing to do.
    let cluster = Cluster::install(plane, crate::webhook::DEFAULTS).await;
    pods_of_every_kind(&api, "both").await;
    let injected = r#"admissions_total{operation="CREATE",outcome="injected",reason="role"}"#;
    let already = r#"admissions_total{operation="CREATE",outcome="unchanged",reason="already_injected"}"#;
    assert_eq!(cluster.metric(injected).await, 0.0);
    assert!(cluster.metric(already).await > 20.0);
    Ok(())
}

async fn the_charts_settings_reach_the_policy() -> Outcome {
    let plane = control_plane("policy-settings").await?;
    let api = plane.api().await;
    apply(&plane, "tests/fixtures/rendered/policy-settings.yaml").await;
    let role = json!({"example.com/role-arn": "/of/example.com", ROLE_ANNOTATION: ROLE});
    api.create_namespace("settings").await;
    api.create_account("settings", "other", &role).await;
    let mut pod = pod("probe");
    pod["spec"]["serviceAccountName"] = json!("other");
    acts(&api, "settings", &pod).await;
    let stored = api.create_pod("settings", &pod).await.unwrap();
    let volume = stored["spec"]["volumes"].as_array().unwrap().last().unwrap();
    let token = &volume["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!((&volume["name"], &token["audience"]), (&json!("token"), &json!("sts.example.com")));
    assert_eq!(token["expirationSeconds"], 7200);
    let container = &stored["spec"]["containers"][0];
    let mount = container["volumeMounts"].as_array().unwrap().last().unwrap();
    assert_eq!((&mount["name"], &mount["mountPath"]), (&json!("token"), &json!("/var/run/token")));
    assert_eq!(
        container["env"],
        json!([
            {"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::011122223333:role/of/example.com"},
            {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/var/run/token/token"},
            {"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"},
            {"name": "AWS_EC2_METADATA_DISABLED", "value": "true"},
            {"name": "GREETING", "value": "a \"b\"=\\c"},
        ])
    );
    Ok(())
}

async fn accounts_of_every_kind(api: &Api, namespace: &str) {
    api.create_namespace(namespace).await;
    for case in cases::all() {
        api.create_account(namespace, case.name, &case.account).await;
        knows(api, namespace, &case).await;
    }
}

async fn pods_of_every_kind(api: &Api, namespace: &str) {
    for case in cases::all() {
        let stored = api.create_pod(namespace, &case.pod).await;
        let stored = stored.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let expected = case.by_policy.unwrap_or(case.expected);
        assert_eq!(identity::of(&stored), expected, "{}", case.name);
    }
}

async fn copies(api: &Api) {
    let first = api.create_pod("policy", &pod("first")).await.unwrap();
    let copy = json!({"metadata": {"name": "second"}, "spec": first["spec"]});
    assert_eq!(first["spec"], api.create_pod("policy", &copy).await.unwrap()["spec"]);
}

async fn ephemeral_containers(api: &Api) {
    let path = "/api/v1/namespaces/policy/pods/first";
    let patch = json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "debug"}]}});
    api.merge_strategically(&format!("{path}/ephemeralcontainers"), &patch).await.unwrap();
    let stored = api.get(path).await.unwrap();
    assert_eq!(identity::of(&stored), identity::given("first", &["app", "debug"]));
}

/// The version of the API that has MutatingAdmissionPolicy. It is stable, and on by default, since Kubernetes 1.36. That of 1.34
/// has no `flatten` and no `lists.range` in CEL.
fn api_version(version: &Version) -> Result<&'static str, Skipped> {
    match version.minor {
        36.. => Ok("v1"),
        35 => Ok("v1beta1"),
        minor => Err(Skipped(format!("Kubernetes 1.{minor} cannot run the policy"))),
    }
}

/// A control plane that has such policies: before 1.36 by flags of the API server.
pub(crate) async fn control_plane(name: &str) -> Result<ControlPlane, Skipped> {
    let api_version = api_version(&Version::of(&assets()?))?;
    let flags = [
        "--feature-gates=MutatingAdmissionPolicy=true".to_owned(),
        format!("--runtime-config=admissionregistration.k8s.io/{api_version}=true"),
    ];
    let flags = if api_version == "v1" { &[] } else { &flags[..] };
    Ok(ControlPlane::start_with(name, flags).await)
}

/// Applies the policy of a file, in the version of the API that the control plane has. Its expressions must not fail: users
/// would not see it.
pub(crate) async fn apply(plane: &ControlPlane, file: &str) {
    let version = api_version(&plane.version()).unwrap();
    let mut objects = manifests::read(file);
    manifests::of_kind(&mut objects, "MutatingAdmissionPolicy")["spec"]["failurePolicy"] = json!("Fail");
    for object in &mut objects {
        if object["kind"].as_str().unwrap().starts_with("Mutating") {
            object["apiVersion"] = json!(format!("admissionregistration.k8s.io/{version}"));
        }
        plane.api().await.apply(object).await.unwrap();
    }
}

/// The API server reads accounts, too, from a watch of its own: waits until the policy has seen that of the case.
async fn knows(api: &Api, namespace: &str, case: &Case) {
    let role = case.account[ROLE_ANNOTATION].as_str().unwrap_or_default();
    if !role.trim().is_empty() {
        let mut pod = pod("probe");
        pod["spec"]["serviceAccountName"] = json!(case.name);
        // Of all annotations of an account, one may say that no container is to be touched.
        pod["metadata"]["annotations"] = json!({"eks.amazonaws.com/include-containers": "app"});
        acts(api, namespace, &pod).await;
    }
}

/// Waits until the policy changes such a pod.
pub(crate) async fn acts(api: &Api, namespace: &str, pod: &Value) {
    let pods = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    for _ in 0..1000 {
        let shown = api.create(&pods, pod).await.unwrap();
        if shown["spec"]["containers"][0]["env"].is_array() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the policy does not act within 20 s on {pod}");
}
