//! Container credentials: what pods are given, and which.

use std::{fs, sync::Arc, time::Duration};

use eks_pod_identity_webhook::{
    accounts::{
        assignments::{Assignments, container_credentials_file::ContainerCredentialsFile},
        cache::Cache,
        sources::{manifests::Manifests, watch},
    },
    admission::{Buffers, Webhook},
    injection::{
        account::Account,
        compat::Compat,
        resolver::Resolver,
        settings::{ContainerCredentials, Settings},
    },
    metrics::Metrics,
};
use serde_json::{Value, json};

use crate::support::{
    self, ROLE, ROLE_ANNOTATION,
    api_server::ApiServer,
    daemon::{Daemon, command, stderr, stdout},
    eventually, metric,
    server::plain_get,
    within,
};

const MOUNT_PATH: &str = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount";
const NAME: &str = "eks-pod-identity-token";
const LABEL: &str = "eks.amazonaws.com/pod-identity";

fn settings() -> Arc<Settings> {
    Arc::new(Settings { container_credentials: Some(ContainerCredentials::default()), ..Settings::default() })
}

/// The answer to the creation of a pod of an account that is listed, and the pod that comes of it.
fn create(annotations: &[(&str, &str)], pod: &Value) -> (Value, Value) {
    admit(annotations, "CREATE", "", pod, &Value::Null)
}

fn admit(
    annotations: &[(&str, &str)],
    operation: &str,
    subresource: &str,
    pod: &Value,
    old: &Value,
) -> (Value, Value) {
    admit_under(settings(), annotations, operation, subresource, pod, old)
}

fn admit_under(
    settings: Arc<Settings>,
    annotations: &[(&str, &str)],
    operation: &str,
    subresource: &str,
    pod: &Value,
    old: &Value,
) -> (Value, Value) {
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": operation, "namespace": "payments", "object": pod, "oldObject": old,
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": subresource,
    }});
    let resolver = Resolver::new(Arc::clone(&settings));
    let account = resolver.container_credentials(
        resolver.resolve(annotations.iter().copied()),
        &resolver.own(annotations.iter().copied()),
    );
    let mut body = review.to_string().into_bytes();
    let look_up = |_: &str, _: &str| Some(account.clone());
    Webhook::new(settings).admit(&mut body, &mut Buffers::default(), look_up).unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let mut patched = pod.clone();
    if let Some(patch) = support::patch_of(&answer) {
        json_patch::patch(&mut patched, &patch.0).unwrap();
    }
    (answer["response"].clone(), patched)
}

fn pod(containers: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"containers": containers}})
}

fn entry(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

fn full_uri() -> Value {
    entry("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials")
}

fn token_file() -> Value {
    entry("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &format!("{MOUNT_PATH}/{NAME}"))
}

fn regions() -> [Value; 2] {
    [entry("AWS_REGION", "us-east-1"), entry("AWS_DEFAULT_REGION", "us-east-1")]
}

fn volume(name: &str, lifetime: u64) -> Value {
    let token = json!({"audience": "pods.eks.amazonaws.com", "expirationSeconds": lifetime, "path": NAME});
    json!({"name": name, "projected": {"sources": [{"serviceAccountToken": token}]}})
}

fn mount(name: &str) -> Value {
    json!({"name": name, "mountPath": MOUNT_PATH, "readOnly": true})
}

/// In the order of the AWS webhook, where one of the two variables stands for both.
#[test]
fn a_pod_is_given_what_the_aws_webhook_gives() {
    let settings = Arc::new(Settings { compat: Compat::Aws, ..(*settings()).clone() });
    let [region, default_region] = regions();
    let own = entry("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost");
    let web = pod(json!([{"name": "a"}, {"name": "b", "env": [own]}]));
    let (_, created) = admit_under(Arc::clone(&settings), &[], "CREATE", "", &web, &Value::Null);
    let containers = json!([
        {"name": "a", "env": [default_region, region, full_uri(), token_file()], "volumeMounts": [mount(NAME)]},
        {"name": "b", "env": [own, default_region, region], "volumeMounts": [mount(NAME)]},
    ]);
    let expected = json!({"metadata": {"name": "web", "labels": {LABEL: "enabled"}},
        "spec": {"containers": containers, "volumes": [volume(NAME, 3600)]}});
    assert_eq!(created, expected);
    let (response, again) = admit_under(settings, &[], "CREATE", "", &created, &Value::Null);
    assert_eq!((&again, &response["auditAnnotations"]["outcome"]), (&created, &json!("unchanged")));
}

#[test]
fn a_pod_is_given_container_credentials_and_no_role() {
    let [region, default_region] = regions();
    for annotations in [&[][..], &[(ROLE_ANNOTATION, ROLE)], &[(ROLE_ANNOTATION, "no-arn"), ("other", "x")]] {
        let (response, created) = create(annotations, &pod(json!([{"name": "a"}])));
        let container = json!({"name": "a", "env": [full_uri(), token_file(), region, default_region],
            "volumeMounts": [mount(NAME)]});
        let expected = json!({"metadata": {"name": "web", "labels": {LABEL: "enabled"}},
            "spec": {"containers": [container], "volumes": [volume(NAME, 3600)]}});
        assert_eq!(created, expected, "{annotations:?}");
        assert_eq!(response["auditAnnotations"], json!({"outcome": "injected"}));
        assert_eq!(response.get("warnings"), None);

        let (response, again) = create(annotations, &created);
        assert_eq!((&again, &response["auditAnnotations"]["outcome"]), (&created, &json!("unchanged")));
    }
}

#[test]
fn lifetime_endpoints_region_and_containers_follow_pod_and_account() {
    let annotations = [
        ("eks.amazonaws.com/token-expiration", "10000"),
        ("eks.amazonaws.com/sts-regional-endpoints", "true"),
        ("eks.amazonaws.com/region", "cn-north-1"),
        ("eks.amazonaws.com/audience", "of a role's token"),
    ];
    let mut wanted = pod(json!([{"name": "sidecar"}, {"name": "web"}]));
    wanted["metadata"]["annotations"] = json!({"eks.amazonaws.com/skip-containers": "sidecar"});
    let (_, created) = create(&annotations, &wanted);
    assert_eq!(created["spec"]["volumes"], json!([volume(NAME, 10000)]));
    assert_eq!(created["spec"]["containers"][0], json!({"name": "sidecar"}));
    let env = json!([
        full_uri(),
        token_file(),
        entry("AWS_REGION", "cn-north-1"),
        entry("AWS_DEFAULT_REGION", "cn-north-1"),
        entry("AWS_STS_REGIONAL_ENDPOINTS", "regional")
    ]);
    assert_eq!(created["spec"]["containers"][1]["env"], env);
    wanted["metadata"]["annotations"]["eks.amazonaws.com/token-expiration"] = json!("60");
    assert_eq!(create(&annotations, &wanted).1["spec"]["volumes"], json!([volume(NAME, 600)]));
}

#[test]
fn no_field_of_the_user_is_lost() {
    let other = "http://localhost/credentials";
    let mut wanted = pod(json!([
        {"name": "a", "env": [entry("AWS_CONTAINER_CREDENTIALS_FULL_URI", other), entry("AWS_REGION", "x")]},
        {"name": "b", "volumeMounts": [{"name": "theirs", "mountPath": format!("{MOUNT_PATH}/")}]},
        {"name": "c", "volumeMounts": [{"name": NAME, "mountPath": "/some/other/path"}]},
    ]));
    wanted["metadata"]["labels"] = json!({"app": "web"});
    wanted["spec"]["volumes"] = json!([{"name": NAME, "hostPath": {"path": "token"}}]);
    let (response, created) = create(&[], &wanted);
    let containers = &created["spec"]["containers"];
    assert_eq!(
        containers[0]["env"],
        json!([token_file(), entry("AWS_CONTAINER_CREDENTIALS_FULL_URI", other), entry("AWS_REGION", "x")])
    );
    assert_eq!(containers[1], wanted["spec"]["containers"][1]);
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains(r#"container "b""#) && warning.contains(MOUNT_PATH), "{warning}");
    let second = format!("{NAME}-2");
    assert_eq!(containers[2]["volumeMounts"][1], mount(&second));
    assert_eq!(created["spec"]["volumes"], json!([wanted["spec"]["volumes"][0], volume(&second, 3600)]));
    assert_eq!(created["metadata"]["labels"], json!({"app": "web", LABEL: "enabled"}));
    assert_eq!(create(&[], &created).1, created);

    wanted["metadata"]["labels"] = json!({LABEL: "theirs"});
    assert_eq!(create(&[], &wanted).1["metadata"]["labels"], wanted["metadata"]["labels"]);
    wanted["metadata"]["labels"] = json!({"eks.amazonaws.com/skip-pod-identity-webhook": ""});
    assert_eq!(create(&[], &wanted).1, wanted);
    for unlabelled in [json!({"name": "web", "labels": null}), json!(null)] {
        let mut wanted = pod(json!([{"name": "a"}]));
        wanted["metadata"] = unlabelled;
        assert_eq!(create(&[], &wanted).1["metadata"]["labels"], json!({LABEL: "enabled"}));
    }
    let mut nobody = pod(json!([{"name": "a"}]));
    nobody["metadata"]["annotations"] = json!({"eks.amazonaws.com/skip-containers": "a"});
    assert_eq!(create(&[], &nobody).1, nobody, "no label for a pod that is given nothing");
}

#[test]
fn windows_and_ephemeral_containers_are_given_them_too() {
    let mut windows = pod(json!([{"name": "a"}]));
    windows["spec"]["os"] = json!({"name": "windows"});
    let path = r"C:\var\run\secrets\pods.eks.amazonaws.com\serviceaccount\eks-pod-identity-token";
    let (_, created) = create(&[], &windows);
    assert_eq!(created["spec"]["containers"][0]["env"][1]["value"], path);

    let (_, mut old) = create(&[], &pod(json!([{"name": "a"}])));
    old["metadata"].as_object_mut().unwrap().remove("labels");
    let mut debugged = old.clone();
    debugged["spec"]["ephemeralContainers"] = json!([{"name": "debug"}]);
    let (_, updated) = admit(&[], "UPDATE", "ephemeralcontainers", &debugged, &old);
    assert_eq!(updated["spec"]["ephemeralContainers"][0]["volumeMounts"], json!([mount(NAME)]));
    assert_eq!(updated["metadata"], old["metadata"], "the subresource takes no labels");
}

/// Every recorded pod, and every one after that it was injected, is the same with them as a second run leaves it.
#[test]
fn every_patch_applies_and_a_second_run_adds_nothing() {
    for name in support::all_recorded() {
        let review: Value = serde_json::from_slice(&support::recorded(&name)).unwrap();
        let request = &review["request"];
        if request["operation"] == "CREATE" && request["object"]["kind"] == "Pod" {
            let (_, created) = create(&[(ROLE_ANNOTATION, ROLE)], &request["object"]);
            let (response, again) = create(&[(ROLE_ANNOTATION, ROLE)], &created);
            assert_eq!(again, created, "{name}");
            assert_eq!(response.get("patch"), None, "{name}");
        }
    }
}

fn list(names: &[&str]) -> String {
    let identities: Vec<_> =
        names.iter().map(|name| json!({"namespace": "a", "serviceAccount": name})).collect();
    json!({"identities": identities}).to_string()
}

fn has_container_credentials(cache: &Cache, name: &str) -> Option<bool> {
    let account = cache.look_up("a", name)?;
    Some(!account.without_container_credentials().is_same(&account))
}

#[tokio::test]
async fn a_change_of_the_list_reaches_accounts_that_are_known() {
    let interval = Duration::from_millis(2);
    let dir = tempfile::tempdir().unwrap();
    let manifest = |name: &str| {
        format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: a}}\n")
    };
    fs::write(dir.path().join("accounts.yaml"), [manifest("plain"), manifest("own")].join("---\n")).unwrap();
    let (path, resolver) = (dir.path().join("identities.json"), Arc::new(Resolver::new(settings())));
    for from_cluster in [true, false] {
        fs::write(&path, list(&["own", "late"])).unwrap();
        let metrics = Metrics::new();
        let file =
            ContainerCredentialsFile::open(&path, metrics.accounts.container_credentials.clone()).unwrap();
        let assignments =
            Assignments::new(Arc::clone(&resolver)).following_container_credentials(Some(file.news()));
        tokio::spawn(file.follow(interval));
        let (cache, writer) = Cache::new(metrics.accounts.clone());
        let api = ApiServer::start().await;
        api.apply("a", "plain", json!({"eks.amazonaws.com/token-expiration": "7200"}));
        api.apply("a", "own", json!({ROLE_ANNOTATION: ROLE}));
        if from_cluster {
            tokio::spawn(watch::follow(api.client(metrics.accounts.clone()), assignments, writer));
        } else {
            let manifests = Manifests::open(dir.path(), assignments, writer).await.unwrap();
            tokio::spawn(manifests.follow(interval));
        }
        let are = async |plain, own| {
            eventually(&format!("plain {plain}, own {own}"), || {
                has_container_credentials(&cache, "plain") == Some(plain)
                    && has_container_credentials(&cache, "own") == Some(own)
            })
            .await;
        };
        let metric = |series: &str| {
            let exposition = String::from_utf8(metrics.render()).unwrap();
            metric(&exposition, &format!("pod_identity_webhook_{series}"))
        };
        are(false, true).await;
        fs::write(&path, list(&["plain"])).unwrap();
        are(true, false).await;
        assert_eq!(metric(r#"accounts{state="container_credentials"}"#), 1.0);
        if from_cluster {
            let Some(Account::Granted(grant)) = cache.look_up("a", "plain") else { panic!("nothing") };
            assert_eq!(grant.settings.token_expiration.seconds(), 7200, "it was annotated so all the while");
            api.apply("a", "late", json!({}));
            eventually("late is known", || has_container_credentials(&cache, "late") == Some(false)).await;
        }
        fs::write(&path, "{").unwrap();
        eventually("it is counted", || {
            metric(r#"container_credentials_loads_total{result="failed"}"#) == 1.0
        })
        .await;
        assert_eq!(metric("container_credentials_last_load_successful"), 0.0);
        are(true, false).await;
        fs::write(&path, "").unwrap();
        are(false, false).await;
        assert_eq!(metric(r#"accounts{state="annotated"}"#), if from_cluster { 1.0 } else { 0.0 });
        assert_eq!(metric("container_credentials_last_load_successful"), 1.0);
    }
}

#[tokio::test]
async fn the_program_reads_the_list() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("identities.json");
    let flag = format!("--watch-container-credentials-config={}", path.display());
    let accounts = dir.path().join("accounts.yaml");
    fs::write(
        &accounts,
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: api, namespace: payments}\n",
    )
    .unwrap();
    let accounts = accounts.to_str().unwrap();
    let review = support::path("fixtures/admission-reviews/minimal.json");
    let mutate =
        ["mutate", "-f", review.to_str().unwrap(), "--service-accounts", accounts, "-o", "patch", &flag];
    let output = command(&mutate).output().unwrap();
    assert!(stderr(&output).contains("--watch-container-credentials-config"), "{output:?}");

    fs::write(&path, r#"{"identities": [{"namespace": "payments", "serviceAccount": "api"}]}"#).unwrap();
    let output = command(&mutate).arg("--container-credentials-full-uri=http://agent/v1").output().unwrap();
    assert!(
        stdout(&output).contains(r#""AWS_CONTAINER_CREDENTIALS_FULL_URI","value":"http://agent/v1""#),
        "{output:?}"
    );

    let serve = ["--service-accounts", accounts, &flag, "--debug-endpoints"];
    let daemon = Daemon::start(&serve).await;
    within("ready", async { while plain_get(daemon.admin, "/readyz").await.0 != 200 {} }).await;
    let (_, account) = plain_get(daemon.admin, "/debug/accounts?namespace=payments&name=api").await;
    let account: Value = serde_json::from_str(&account).unwrap();
    assert_eq!(account["state"], "container_credentials");
    assert_eq!(account["containerCredentials"], "http://169.254.170.23/v1/credentials");
    assert_eq!(account["roleArn"], Value::Null);
}
