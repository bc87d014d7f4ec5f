//! Roles that a ConfigMap gives to accounts: which, when, and what becomes of them.

use std::sync::Arc;

use eks_pod_identity_webhook::{
    accounts::{
        assignments::{Assignments, config_map::ConfigMap},
        cache::Cache,
        sources::{manifests, watch},
    },
    injection::{
        account::{Account, Grant, Role},
        variable::Variable,
    },
    metrics::Metrics,
};
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{
    self, ROLE, ROLE_ANNOTATION,
    api_server::{ApiServer, objects::NAMESPACE},
    daemon::{Daemon, command, stderr, stdout, write_kubeconfig},
    eventually, metric,
    server::plain_get,
    within,
};

const MAPPED: &str = "arn:aws:iam::111122223333:role/mapped";

/// What `serve` runs with `--watch-config-map`.
struct Watched {
    api: ApiServer,
    cache: Arc<Cache>,
    metrics: Metrics,
}

impl Watched {
    fn follow(api: ApiServer) -> Self {
        let metrics = Metrics::new();
        let (cache, writer) = Cache::new(metrics.accounts.clone());
        let resolver = Arc::new(support::resolver());
        let config_map = ConfigMap::new(Arc::clone(&resolver), metrics.accounts.mapping.clone());
        let assignments = Assignments::new(resolver).following_mapping(Some(config_map.mappings()));
        let client = api.client(metrics.accounts.clone());
        let other_client = api.client(Metrics::new().accounts);
        tokio::spawn(async move { config_map.follow(other_client, NAMESPACE).await });
        tokio::spawn(watch::follow(client, assignments, writer));
        Self { api, cache, metrics }
    }

    async fn start(config: Value, accounts: &[(&str, &str, Value)]) -> Self {
        let api = ApiServer::start().await;
        for (namespace, name, annotations) in accounts {
            api.apply(namespace, name, annotations.clone());
        }
        api.put_config_map(json!({"config": config.to_string()}));
        let watched = Self::follow(api);
        eventually("the first sync", || watched.cache.is_synced()).await;
        watched
    }

    fn map(&self, config: &Value) {
        self.api.put_config_map(json!({"config": config.to_string()}));
    }

    fn grant(&self, namespace: &str, name: &str) -> Option<Arc<Grant>> {
        self.cache.look_up(namespace, name).as_ref().and_then(Account::grant).cloned()
    }

    fn role(&self, namespace: &str, name: &str) -> Option<String> {
        self.grant(namespace, name)?.role().map(|role| role.arn().to_owned())
    }

    async fn has_role(&self, namespace: &str, name: &str, role: Option<&str>) {
        let what = format!("{namespace}/{name}: {role:?}");
        eventually(&what, || {
            self.cache.look_up(namespace, name).is_some() && self.role(namespace, name).as_deref() == role
        })
        .await;
    }

    fn metric(&self, series: &str) -> f64 {
        let exposition = String::from_utf8(self.metrics.render()).unwrap();
        metric(&exposition, &format!("pod_identity_webhook_{series}"))
    }
}

fn entry(role: &str) -> Value {
    json!({"RoleARN": role})
}

/// The example of the AWS webhook's README.
#[tokio::test]
async fn the_documented_example_gives_the_roles_that_it_says() {
    let role = |name: &str| format!("arn:aws-test:iam::123456789012:role/{name}.sa.minimal.example.com");
    let given = |name: &str| json!({"RoleARN": role(name), "Audience": "amazonaws.com", "UseRegionalSTS": true, "TokenExpiration": 0});
    let config = json!({
        "default/myserviceaccount": given("myserviceaccount.default"),
        "myapp/myotherserviceaccount": given("myotherserviceaccount.myapp"),
        "test-*/myserviceaccount": given("myserviceaccount.test-wildcard"),
    });
    let accounts = [
        ("default", "myserviceaccount", json!(null)),
        ("default", "another", json!(null)),
        ("myapp", "myotherserviceaccount", json!({})),
        ("test-17", "myserviceaccount", json!({"other": "annotation"})),
        ("testing", "myserviceaccount", json!({})),
    ];
    let watched = Watched::start(config, &accounts).await;
    for (namespace, name, expected) in [
        ("default", "myserviceaccount", Some(role("myserviceaccount.default"))),
        ("default", "another", None),
        ("myapp", "myotherserviceaccount", Some(role("myotherserviceaccount.myapp"))),
        ("test-17", "myserviceaccount", Some(role("myserviceaccount.test-wildcard"))),
        ("testing", "myserviceaccount", None),
    ] {
        assert_eq!(watched.role(namespace, name), expected, "{namespace}/{name}");
    }
    let grant = watched.grant("test-17", "myserviceaccount").unwrap();
    assert_eq!(&*grant.settings.audience, "amazonaws.com");
    assert!(grant.settings.gives(Variable::StsRegionalEndpoints));
    assert_eq!(grant.settings.token_expiration.seconds(), 3600, "0 is none, so the flag counts");
    assert_eq!(grant.settings.mapped_by.as_deref(), Some("test-*/myserviceaccount"));
    assert!(grant.settings.warnings.is_empty());
    for (series, value) in [
        (r#"accounts{state="mapped"}"#, 3.0),
        (r#"accounts{state="annotated"}"#, 0.0),
        (r#"accounts{state="unannotated"}"#, 2.0),
        (r#"role_mapping_entries{state="used"}"#, 3.0),
        ("role_mapping_usable", 1.0),
    ] {
        assert_eq!(watched.metric(series), value, "{series}");
    }
    assert_eq!(
        watched.api.refused(),
        Vec::<String>::new(),
        "it needs no more rights than to get and watch that one"
    );
}

#[tokio::test]
async fn a_change_of_the_mapping_reaches_accounts_that_are_known() {
    let accounts =
        [("a", "api", json!({})), ("b", "api", json!({})), ("a", "own", json!({ROLE_ANNOTATION: ROLE}))];
    let watched = Watched::start(json!({}), &accounts).await;
    assert_eq!(watched.role("a", "api"), None);

    watched.map(&json!({"*/*": entry(MAPPED), "b/api": entry("arn:aws:iam::111122223333:role/b")}));
    watched.has_role("a", "api", Some(MAPPED)).await;
    watched.has_role("b", "api", Some("arn:aws:iam::111122223333:role/b")).await;
    assert_eq!(watched.role("a", "own").as_deref(), Some(ROLE), "the annotation wins");

    // An entry goes, and the less specific one counts; then the last goes.
    watched.map(&json!({"*/*": entry(MAPPED)}));
    watched.has_role("b", "api", Some(MAPPED)).await;
    watched.api.apply("c", "late", json!({}));
    watched.has_role("c", "late", Some(MAPPED)).await;
    watched.api.apply("a", "own", json!({}));
    watched.has_role("a", "own", Some(MAPPED)).await;
    watched.api.delete_config_map();
    for (namespace, name) in [("a", "api"), ("b", "api"), ("c", "late"), ("a", "own")] {
        watched.has_role(namespace, name, None).await;
    }
    assert_eq!(watched.metric(r#"accounts{state="unannotated"}"#), 4.0);
    assert_eq!(watched.metric(r#"role_mapping_entries{state="used"}"#), 0.0);
    watched.map(&json!({"a/api": entry(MAPPED)}));
    watched.has_role("a", "api", Some(MAPPED)).await;
    assert_eq!(watched.api.lists(), 1, "nothing had to be listed again");
}

#[tokio::test]
async fn other_annotations_take_precedence_over_the_mapping() {
    let own = json!({"eks.amazonaws.com/audience": "vault", "eks.amazonaws.com/skip-containers": "proxy",
        "eks.amazonaws.com/token-expiration": "7200"});
    let watched = Watched::start(json!({}), &[("a", "api", own), ("a", "plain", json!({}))]).await;
    let given = json!({"RoleARN": MAPPED, "Audience": "x", "TokenExpiration": 1200, "UseRegionalSTS": true});
    watched.map(&json!({"a/*": given}));
    watched.has_role("a", "api", Some(MAPPED)).await;
    let grant = watched.grant("a", "api").unwrap();
    assert_eq!((&*grant.settings.audience, grant.settings.token_expiration.seconds()), ("vault", 7200));
    assert!(grant.settings.skip_containers.as_ref().unwrap().contains("proxy"));
    assert!(grant.settings.gives(Variable::StsRegionalEndpoints));

    watched.api.apply("a", "api", json!({"eks.amazonaws.com/sts-regional-endpoints": "false"}));
    eventually("its annotations are others", || {
        watched.grant("a", "api").is_some_and(|grant| {
            &*grant.settings.audience == "x" && !grant.settings.gives(Variable::StsRegionalEndpoints)
        })
    })
    .await;
    watched.api.delete("a", "api");
    watched.api.apply("a", "api", json!({}));
    eventually("its annotations are gone", || {
        watched.grant("a", "api").is_some_and(|grant| grant.settings.gives(Variable::StsRegionalEndpoints))
    })
    .await;
}

#[tokio::test]
async fn a_malformed_document_keeps_the_last_good_one() {
    let watched = Watched::start(json!({"a/api": entry(MAPPED)}), &[("a", "api", json!({}))]).await;
    watched.api.put_config_map(json!({"config": "{\"a/api\": "}));
    eventually("it is counted", || watched.metric(r#"role_mapping_errors_total{reason="document"}"#) == 1.0)
        .await;
    assert_eq!(watched.metric("role_mapping_usable"), 0.0);
    watched.api.apply("a", "late", json!({}));
    watched.has_role("a", "late", None).await;
    assert_eq!(watched.role("a", "api").as_deref(), Some(MAPPED));

    watched.map(&json!({"noslash": entry(MAPPED), "a/null": null, "a/late": entry("short")}));
    watched.has_role("a", "late", Some("short")).await;
    watched.has_role("a", "api", None).await;
    assert_eq!(watched.metric("role_mapping_usable"), 1.0);
    assert_eq!(watched.metric(r#"role_mapping_entries{state="malformed"}"#), 2.0);
    assert_eq!(watched.metric(r#"accounts{state="malformed"}"#), 1.0);
    let warnings = &watched.grant("a", "late").unwrap().settings.warnings;
    assert!(
        warnings[0].as_ref().starts_with(r#"role mapping "a/late": "short" is not a role ARN"#),
        "{warnings:?}"
    );
}

#[tokio::test]
async fn an_outage_of_the_api_server_changes_no_role() {
    let mut watched = Watched::start(json!({"a/api": entry(MAPPED)}), &[("a", "api", json!({}))]).await;
    watched.api.stop().await;
    eventually("it is counted", || watched.metric(r#"role_mapping_errors_total{reason="watch"}"#) >= 1.0)
        .await;
    assert_eq!(watched.role("a", "api").as_deref(), Some(MAPPED));
    watched.api.delete_config_map();
    watched.api.resume().await;
    watched.has_role("a", "api", None).await;
}

#[tokio::test]
async fn the_daemon_is_not_ready_before_it_has_a_mapping() {
    let api = ApiServer::start().await;
    api.apply("payments", "plain", json!({}));
    api.put_config_map(json!({"config": "[]"}));
    api.fail_calls(&Method::GET, &[403]);
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    let namespace = format!("--namespace={NAMESPACE}");
    let daemon = ["--watch-config-map", "--kubeconfig", &kubeconfig, "--context=test", &namespace];
    let mut daemon = Daemon::start(&daemon).await;
    let line = daemon.logged("can't watch ConfigMap pod-identity-webhook").await;
    assert!(line["error"].as_str().unwrap().contains("403"), "{line}");
    assert!(line["cure"].as_str().unwrap().contains("resourceNames: [pod-identity-webhook]"), "{line}");
    assert_eq!(line["effect"], "not ready");
    let line = daemon.line("ConfigMap pod-identity-webhook can't be used").await;
    assert_eq!(line["effect"], "not ready");
    let reason = "not ready: the ConfigMap of roles can't be used: see the log\n";
    assert_eq!(plain_get(daemon.admin, "/readyz").await, (503, reason.to_owned()));
    assert_eq!(api.lists(), 0, "no account is known, so none can pass for one without a role");

    api.put_config_map(json!({"config": json!({"payments/*": entry(MAPPED)}).to_string()}));
    within("ready", async { while plain_get(daemon.admin, "/readyz").await.0 != 200 {} }).await;
    let (_, metrics) = plain_get(daemon.admin, "/metrics").await;
    assert_eq!(metric(&metrics, r#"pod_identity_webhook_accounts{state="mapped"}"#), 1.0);
    assert_eq!(api.refused(), Vec::<String>::new());
}

#[test]
fn a_config_map_among_the_manifests_counts() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    let account = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: api, namespace: payments}\n";
    let config_map = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  config: |\n    \
             {{\"payments/*\": {{\"rolearn\": \"{MAPPED}\"}}, \"bad\": {{}}}}\n"
        )
    };
    write("a.yaml", account);
    write("b.yaml", &config_map("pod-identity-webhook"));
    write("c.yaml", &config_map("another"));
    let loaded = manifests::load(dir.path(), &support::resolver()).unwrap();
    let mut assignments = Assignments::new(Arc::new(support::resolver()));
    let (_, _, account) = loaded.resolve(&mut assignments).next().unwrap();
    assert_eq!(account.grant().unwrap().role().map(Role::arn), Some(MAPPED));

    let review = support::path("fixtures/admission-reviews/minimal.json");
    let accounts = dir.path().to_str().unwrap();
    let args = ["mutate", "-f", review.to_str().unwrap(), "--service-accounts", accounts, "-o", "patch"];
    let output = command(&args).output().unwrap();
    assert!(output.status.success() && stdout(&output).contains(MAPPED), "{output:?}");
    assert!(
        stderr(&output).contains(r#"malformed role mapping "bad": the key is not namespace/name"#),
        "{output:?}"
    );

    write("d.yaml", &config_map("pod-identity-webhook"));
    let error = manifests::load(dir.path(), &support::resolver()).unwrap_err().to_string();
    assert!(error.ends_with("a second ConfigMap pod-identity-webhook; leave one of them out"), "{error}");
}
