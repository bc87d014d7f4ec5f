//! What the manifests let the program do: enough, nothing beyond, and nothing that it could do without.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    api::{Api, path_of},
    control_plane::Version,
    harness::{Test, tests},
    support::manifests,
    wait::eventually,
    webhook::{ACCOUNT, Cluster, DEFAULTS, NAMESPACE, shared, token},
};

pub(crate) const TESTS: &[Test] = tests![
    the_program_may_do_its_work_and_nothing_else,
    only_the_rules_of_the_manifests_apply_to_the_program,
    without_any_one_verb_something_breaks
];

/// A verb that the manifests grant, and what becomes of a program that starts without it, its Secret empty and its
/// `caBundle` too: which errors it counts, and why it is not ready, if it is not.
pub(crate) struct Granted {
    pub(crate) resource: &'static str,
    pub(crate) verb: &'static str,
    errors: &'static str,
    unready: Option<&'static str>,
}

const fn granted(
    resource: &'static str,
    verb: &'static str,
    errors: &'static str,
    unready: Option<&'static str>,
) -> Granted {
    Granted { resource, verb, errors, unready }
}

/// Every verb that the manifests grant.
pub(crate) const GRANTED: [Granted; 8] = [
    granted(
        "serviceaccounts",
        "list",
        r#"watch_errors_total{reason="list"}"#,
        Some("the ServiceAccounts have not been listed yet"),
    ),
    granted("serviceaccounts", "watch", r#"watch_errors_total{reason="watch_start"}"#, None),
    granted("secrets", "get", SECRET_WATCH, Some("the certificate's Secret has not been read yet")),
    granted("secrets", "watch", SECRET_WATCH, None),
    granted("secrets", "update", r#"tls_self_managed_errors_total{operation="secret_update"}"#, UNCOVERED),
    granted(
        "mutatingwebhookconfigurations",
        "get",
        CONFIGURATION_WATCH,
        Some("the webhook configuration has not been read yet"),
    ),
    granted("mutatingwebhookconfigurations", "watch", CONFIGURATION_WATCH, None),
    granted(
        "mutatingwebhookconfigurations",
        "patch",
        r#"tls_self_managed_errors_total{operation="publish"}"#,
        UNCOVERED,
    ),
];

/// The verbs that the program uses. Where the API server streams ServiceAccounts, it does not list them.
pub(crate) fn used(version: &Version) -> Vec<Granted> {
    let streams = version.streams_initial_events();
    GRANTED.into_iter().filter(|granted| !(streams && granted.verb == "list")).collect()
}

const SECRET_WATCH: &str = r#"tls_self_managed_errors_total{operation="secret_watch"}"#;
const CONFIGURATION_WATCH: &str = r#"tls_self_managed_errors_total{operation="configuration_watch"}"#;
const UNCOVERED: Option<&str> = Some("the webhook configuration's caBundle does not cover the certificate");

impl Granted {
    /// A request that it is for.
    fn access(&self) -> Access {
        let Self { resource, verb, .. } = *self;
        match resource {
            "serviceaccounts" => [verb, "", resource, "", ""],
            "secrets" => [verb, "", resource, NAMESPACE, SECRET],
            _ => [verb, CONFIGURATIONS[0], resource, "", ACCOUNT],
        }
    }
}

/// A request: verb, group, resource, namespace and name, empty where it is for all.
type Access = [&'static str; 5];

const CONFIGURATIONS: [&str; 2] = ["admissionregistration.k8s.io", "mutatingwebhookconfigurations"];
const SECRET: &str = "eks-pod-identity-webhook-tls";

async fn the_program_may_do_its_work_and_nothing_else() {
    let cluster = shared().await;
    let api = cluster.api_of_program().await;
    let [group, configurations] = CONFIGURATIONS;
    for granted in &GRANTED {
        assert!(may(&api, granted.access()).await, "{:?}", granted.access());
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

async fn only_the_rules_of_the_manifests_apply_to_the_program() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_account(NAMESPACE, "nobody", &json!({})).await;
    let nobody = Api::new(cluster.plane.kubeconfig(&json!({"token": token(&api, "nobody").await}))).await;
    let (nobody, program) = (rules(&nobody).await, rules(&cluster.api_of_program().await).await);
    let ours: Vec<_> = program.into_iter().filter(|rule| !nobody.contains(rule)).collect();
    let mut granted = Vec::new();
    for object in manifests::read(DEFAULTS) {
        granted.extend(object["rules"].as_array().cloned().unwrap_or_default());
    }
    let verbs = granted.iter().flat_map(|rule| {
        let items = |list: &str| rule[list].as_array().unwrap().iter().map(|item| item.as_str().unwrap());
        items("resources").flat_map(move |resource| items("verbs").map(move |verb| (resource, verb)))
    });
    let known = GRANTED.map(|granted| (granted.resource, granted.verb));
    assert_eq!(verbs.collect::<BTreeSet<_>>(), BTreeSet::from(known));
    assert_eq!(sorted(ours), sorted(granted));
}

async fn without_any_one_verb_something_breaks() {
    let mut cluster = Cluster::start("rights").await;
    cluster.kill_program();
    let (api, program) = (cluster.api().await, cluster.api_of_program().await);
    for granted in used(&cluster.plane.version()) {
        let without = format!("without-{}-{}", granted.verb, granted.resource);
        start_over(&api).await;
        api.apply(&role_without(&granted)).await.unwrap();
        // The API server reads roles from a watch.
        eventually(&without, async || !may(&program, granted.access()).await).await;

        let replica = cluster.run(&without).await;
        match granted.unready {
            Some(reason) => {
                let unready = (503, format!("not ready: {reason}\n"));
                eventually(&without, async || replica.readyz().await == unready).await;
            }
            None => replica.is_ready().await,
        }
        // Tried, and tried again.
        eventually(&without, async || replica.metric(granted.errors).await >= 2.0).await;
    }

    // With all of them it starts from the same state, and nothing is refused.
    start_over(&api).await;
    for granted in &GRANTED {
        eventually("granted again", async || may(&program, granted.access()).await).await;
    }
    let replica = cluster.run("with-every-verb").await;
    replica.is_ready().await;
    for granted in &GRANTED {
        assert_eq!(replica.metric(granted.errors).await, 0.0, "{}", granted.errors);
    }
}

/// As it is right after the manifests were applied.
async fn start_over(api: &Api) {
    for object in manifests::read(DEFAULTS) {
        match object["kind"].as_str().unwrap() {
            "Role" | "ClusterRole" => drop(api.apply(&object).await.unwrap()),
            "Secret" => drop(api.merge(&path_of(&object), &json!({"data": null})).await.unwrap()),
            "MutatingWebhookConfiguration" => {
                let webhooks = &object["webhooks"];
                api.merge(&path_of(&object), &json!({"webhooks": webhooks})).await.unwrap();
            }
            _ => {}
        }
    }
}

/// The Role or ClusterRole that grants it, without it.
fn role_without(&Granted { resource, verb, .. }: &Granted) -> Value {
    let mut objects = manifests::read(DEFAULTS);
    for object in &mut objects {
        for rule in object["rules"].as_array_mut().into_iter().flatten() {
            let verbs = rule["verbs"].as_array().unwrap().clone();
            if rule["resources"] == json!([resource]) && verbs.contains(&json!(verb)) {
                rule["verbs"] = verbs.into_iter().filter(|granted| granted != verb).collect();
                return object.take();
            }
        }
    }
    panic!("nothing grants {verb} {resource}");
}

/// The rules that apply to the client.
async fn rules(api: &Api) -> Vec<Value> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": NAMESPACE},
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let status = &api.create(path, &review).await.unwrap()["status"];
    assert_eq!(status["incomplete"], false);
    ["resourceRules", "nonResourceRules"]
        .iter()
        .flat_map(|kind| status[kind].as_array().unwrap().clone())
        .collect()
}

fn sorted(mut rules: Vec<Value>) -> Vec<Value> {
    rules.sort_by_key(|rule| rule["resources"].to_string());
    rules
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
