//! Which roles of the ConfigMap a namespace may use: what its Namespace permits, and what happens while that is not known.

use std::sync::Arc;

use eks_pod_identity_webhook::{
    accounts::{
        assignments::{
            Assignments,
            config_map::ConfigMap,
            role_policy::{NamespaceWatch, RolePolicy},
        },
        cache::Cache,
        sources::watch,
    },
    injection::{account::Account, settings::Settings},
    metrics::Metrics,
};
use serde_json::{Value, json};

use crate::support::{
    self, ROLE, ROLE_ANNOTATION,
    api_server::{ApiServer, objects::NAMESPACE},
    client::Client,
    daemon::{Daemon, command, stderr, write_kubeconfig},
    eventually, metric, minimal_of,
    server::plain_get,
    within,
};

const KEY: &str = "eks.amazonaws.com/permitted-roles";

/// What `serve` runs with `--watch-config-map` and `--role-policy`.
struct Watched {
    api: ApiServer,
    cache: Arc<Cache>,
    metrics: Metrics,
}

impl Watched {
    /// Every account of the API server is given `ROLE` by the ConfigMap.
    async fn start(api: ApiServer, default: &str) -> Self {
        api.put_config_map(json!({"config": json!({"*/*": {"RoleARN": ROLE}}).to_string()}));
        let metrics = Metrics::new();
        let (cache, writer) = Cache::new(metrics.accounts.clone());
        let resolver = Arc::new(support::resolver());
        let prefix = &Settings::default().annotation_prefix;
        let config_map = ConfigMap::new(Arc::clone(&resolver), metrics.accounts.mapping.clone());
        let namespaces = NamespaceWatch::new(prefix, metrics.accounts.mapping.retries.clone());
        let policy = RolePolicy::new(default.parse().unwrap(), prefix).following(namespaces.news());
        let assignments = Assignments::new(resolver)
            .following_mapping(Some(config_map.mappings()))
            .under_role_policy(Some(policy));
        let [of_config_map, of_namespaces] = [(); 2].map(|()| api.client(Metrics::new().accounts));
        tokio::spawn(async move { config_map.follow(of_config_map, NAMESPACE).await });
        tokio::spawn(namespaces.follow(of_namespaces));
        tokio::spawn(watch::follow(api.client(metrics.accounts.clone()), assignments, writer));
        let watched = Self { api, cache, metrics };
        eventually("the first sync", || watched.cache.is_synced()).await;
        watched
    }

    fn role(&self, namespace: &str) -> Option<String> {
        let account = self.cache.look_up(namespace, "api");
        Some(account.as_ref().and_then(Account::grant)?.role()?.arn().to_owned())
    }

    async fn has_role(&self, namespace: &str, is_given: bool) {
        eventually(&format!("{namespace}: {is_given}"), || {
            self.cache.look_up(namespace, "api").is_some() && self.role(namespace).is_some() == is_given
        })
        .await;
    }
}

async fn cluster(namespaces: &[(&str, Value)]) -> ApiServer {
    let api = ApiServer::start().await;
    for (name, annotations) in namespaces {
        api.apply_namespace(name, annotations.clone());
        api.apply(name, "api", json!({}));
    }
    api
}

#[tokio::test]
async fn a_namespace_is_given_the_roles_that_it_permits() {
    let api = cluster(&[
        ("permits", json!({KEY: "arn:aws:iam::*:role/payments-*"})),
        ("forbids", json!({KEY: "arn:aws:iam::*:role/other"})),
        ("default", json!({"other": "annotation"})),
    ])
    .await;
    api.apply("forbids", "own", json!({ROLE_ANNOTATION: ROLE}));
    let watched = Watched::start(api, "deny").await;
    for (namespace, is_given) in [("permits", true), ("forbids", false), ("default", false)] {
        watched.has_role(namespace, is_given).await;
    }
    assert!(
        watched.cache.look_up("forbids", "own").unwrap().grant().is_some(),
        "the cluster's policy checks those"
    );
    let account = watched.cache.look_up("forbids", "api").unwrap();
    let expected = format!(
        r#"role mapping "*/*": "{ROLE}" is not given: namespace forbids permits arn:aws:iam::*:role/other ({KEY})"#
    );
    assert_eq!(account.warnings()[0].as_ref(), expected);

    // The Namespaces are followed, and so is a ConfigMap under them.
    watched.api.apply_namespace("permits", json!({KEY: ""}));
    watched.has_role("permits", false).await;
    watched.api.apply_namespace("default", json!({KEY: "*"}));
    watched.has_role("default", true).await;
    let other = "arn:aws:iam::111122223333:role/other";
    watched.api.put_config_map(json!({"config": json!({"*/api": {"RoleARN": other}}).to_string()}));
    watched.has_role("forbids", true).await;
    assert_eq!(watched.role("default").as_deref(), Some(other));
    assert_eq!(watched.api.lists(), 1, "no account had to be listed again");
    assert_eq!(watched.api.asked_for_whole_objects(), 0, "metadata only");
}

#[tokio::test]
async fn an_account_whose_namespace_is_not_known_waits_for_it() {
    let watched = Watched::start(cluster(&[("known", json!({}))]).await, "allow").await;
    watched.has_role("known", true).await;
    watched.api.apply("late", "api", json!({}));
    watched.api.apply("late", "own", json!({ROLE_ANNOTATION: ROLE}));
    watched.api.apply("known", "next", json!({}));
    eventually("the accounts", || watched.cache.look_up("known", "next").is_some()).await;
    assert!(watched.cache.look_up("late", "api").is_none(), "neither with the role nor without one");
    assert!(watched.cache.look_up("late", "own").is_some());

    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    let (found, ()) = tokio::join!(watched.cache.wait("late", "api", deadline), async {
        watched.api.apply_namespace("late", json!({KEY: "arn:aws:iam::*:role/payments-*"}));
    });
    assert!(found.unwrap().grant().is_some());

    watched.api.delete_namespace("late");
    eventually("nothing is known of it", || watched.cache.look_up("late", "api").is_none()).await;
    assert!(watched.cache.look_up("late", "own").is_some());
}

#[tokio::test]
async fn an_outage_changes_no_role_and_what_was_missed_counts_afterwards() {
    let mut watched = Watched::start(cluster(&[("a", json!({})), ("b", json!({}))]).await, "allow").await;
    watched.api.stop().await;
    let retries = || {
        let exposition = String::from_utf8(watched.metrics.render()).unwrap();
        metric(&exposition, r#"pod_identity_webhook_retries_total{operation="namespace_watch"}"#)
    };
    eventually("it is counted", || retries() >= 1.0).await;
    watched.has_role("a", true).await;
    watched.api.apply_namespace("a", json!({KEY: ""}));
    watched.api.resume().await;
    watched.has_role("a", false).await;
    watched.has_role("b", true).await;

    // 410, and a watch that breaks.
    watched.api.fail_namespaces(&[410, 500]);
    watched.api.break_namespace_watches();
    watched.api.apply_namespace("b", json!({KEY: ""}));
    watched.has_role("b", false).await;
}

#[tokio::test]
async fn the_daemon_is_not_ready_before_it_knows_the_namespaces() {
    let api = cluster(&[("payments", json!({KEY: "arn:aws:iam::*:role/other"}))]).await;
    api.put_config_map(json!({"config": json!({"*/api": {"RoleARN": ROLE}}).to_string()}));
    api.fail_namespaces(&[403]);
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    let namespace = format!("--namespace={NAMESPACE}");
    let args =
        ["--watch-config-map", "--role-policy", "--kubeconfig", &kubeconfig, "--context=test", &namespace];
    let mut daemon = Daemon::start(&args).await;
    let line = daemon.logged("can't watch Namespaces").await;
    assert_eq!(line["effect"], "not ready");
    assert!(
        line["cure"].as_str().unwrap().contains("resources: [namespaces], verbs: [list, watch]"),
        "{line}"
    );
    within("ready", async { while plain_get(daemon.admin, "/readyz").await.0 != 200 {} }).await;
    assert_eq!(api.namespace_lists(), 1);

    // Known and without the role: answered at once, without a patch, and the reason.
    let mut client = Client::connect(daemon.address, &daemon.ca_pem).await;
    let response = client.mutate(&minimal_of("api")).await;
    assert_eq!(response.status, 200);
    let review = response.json();
    assert!(review["response"]["patch"].is_null(), "{review}");
    assert!(review["response"]["warnings"][0].as_str().unwrap().contains("permits"), "{review}");

    // Not known: 503, so that the API server tries again.
    api.apply("new", "api", json!({}));
    let body = String::from_utf8(minimal_of("api")).unwrap().replace(r#""payments""#, r#""new""#);
    let response = client.mutate(body.as_bytes()).await;
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(api.refused(), Vec::<String>::new());
}

#[test]
fn a_policy_without_a_mapping_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let manifests = dir.path().to_str().unwrap();
    for args in [
        &["serve", "--role-policy"][..],
        &["serve", "--role-policy", "--watch-config-map", "--service-accounts", manifests],
    ] {
        let output = command(args).output().unwrap();
        assert!(
            stderr(&output).contains("--role-policy applies to the roles of the ConfigMap"),
            "{output:?}"
        );
        assert!(!output.status.success());
    }
    let output = command(&["serve", "--role-policy=payments-*", "--watch-config-map"]).output().unwrap();
    assert!(stderr(&output).contains("want allow, deny, or comma-separated globs"), "{output:?}");
}
