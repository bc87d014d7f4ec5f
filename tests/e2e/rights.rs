//! What the manifests let the program do: enough, nothing beyond, and nothing that it could do without.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    api::{Api, path_of},
    manifests,
    webhook::{ACCOUNT, Cluster, DEFAULTS, NAMESPACE, Replica, shared, token},
};

/// Every verb that the manifests grant.
pub(crate) const VERBS: [(&str, &str); 8] = [
    ("serviceaccounts", "list"),
    ("serviceaccounts", "watch"),
    ("secrets", "get"),
    ("secrets", "watch"),
    ("secrets", "update"),
    ("mutatingwebhookconfigurations", "get"),
    ("mutatingwebhookconfigurations", "watch"),
    ("mutatingwebhookconfigurations", "patch"),
];

/// A request: verb, group, resource, namespace and name, empty where it is for all.
type Access = [&'static str; 5];

const CONFIGURATIONS: [&str; 2] = ["admissionregistration.k8s.io", "mutatingwebhookconfigurations"];
const SECRET: &str = "eks-pod-identity-webhook-tls";

#[tokio::test]
async fn the_program_may_do_its_work_and_nothing_else() {
    let Some(cluster) = shared().await else { return };
    let api = cluster.api_of_program().await;
    let [group, configurations] = CONFIGURATIONS;
    for access in [
        ["list", "", "serviceaccounts", "", ""],
        ["watch", "", "serviceaccounts", "", ""],
        ["get", "", "secrets", NAMESPACE, SECRET],
        ["watch", "", "secrets", NAMESPACE, SECRET],
        ["update", "", "secrets", NAMESPACE, SECRET],
        ["get", group, configurations, "", ACCOUNT],
        ["watch", group, configurations, "", ACCOUNT],
        ["patch", group, configurations, "", ACCOUNT],
    ] {
        assert!(may(&api, access).await, "{access:?}");
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

#[tokio::test]
async fn no_rule_applies_to_the_program_but_those_of_the_manifests() {
    let Some(cluster) = shared().await else { return };
    let api = cluster.api().await;
    api.create_account(NAMESPACE, "nobody", &json!({})).await;
    let nobody = Api::new(cluster.plane.kubeconfig(&json!({"token": token(&api, "nobody").await}))).await;
    let (nobody, program) = (rules(&nobody).await, rules(&cluster.api_of_program().await).await);
    let ours: Vec<_> = program.into_iter().filter(|rule| !nobody.contains(rule)).collect();
    let mut granted = Vec::new();
    for object in manifests::read(DEFAULTS) {
        granted.extend(object["rules"].as_array().cloned().unwrap_or_default());
    }
    assert_eq!(sorted(ours), sorted(granted));
}

/// What becomes of a program that starts without one verb, its Secret empty and its `caBundle` too: which errors it
/// counts, and why it is not ready, if it is not.
const WITHOUT: [(&str, Option<&str>); 8] = [
    (r#"watch_errors_total{reason="list"}"#, Some("ServiceAccounts")),
    (r#"watch_errors_total{reason="watch_start"}"#, None),
    (r#"tls_self_managed_errors_total{operation="secret_watch"}"#, Some("Secret")),
    (r#"tls_self_managed_errors_total{operation="secret_watch"}"#, None),
    (r#"tls_self_managed_errors_total{operation="secret_update"}"#, Some("does not cover")),
    (r#"tls_self_managed_errors_total{operation="configuration_watch"}"#, Some("configuration")),
    (r#"tls_self_managed_errors_total{operation="configuration_watch"}"#, None),
    (r#"tls_self_managed_errors_total{operation="publish"}"#, Some("does not cover")),
];

#[tokio::test]
async fn without_any_one_verb_something_breaks() {
    let Some(mut cluster) = Cluster::start("rights").await else { return };
    cluster.kill_program();
    let (api, program) = (cluster.api().await, cluster.api_of_program().await);
    for ((resource, verb), (errors, unready)) in VERBS.into_iter().zip(WITHOUT) {
        let without = format!("{resource}-{verb}");
        start_over(&api).await;
        api.apply(&role_without(resource, verb)).await.unwrap();
        is(&program, resource, verb, false).await;

        let replica = cluster.run(&without).await;
        match unready {
            Some(reason) => is_unready(&replica, reason).await,
            None => replica.is_ready().await,
        }
        // Tried, and tried again.
        counts(&replica, errors, 2.0).await;
    }

    // With all of them it starts from the same state, and nothing is refused.
    start_over(&api).await;
    for (resource, verb) in VERBS {
        is(&program, resource, verb, true).await;
    }
    let replica = cluster.run("with-every-verb").await;
    replica.is_ready().await;
    for (errors, _) in WITHOUT {
        assert_eq!(replica.metric(errors).await, 0.0, "{errors}");
    }
}

async fn is_unready(replica: &Replica, reason: &str) {
    let mut said = (0, String::new());
    for _ in 0..1000 {
        said = replica.readyz().await;
        if said.0 == 503 && said.1.contains(reason) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not unready for {reason:?} after 20 s, but {said:?}");
}

async fn counts(replica: &Replica, series: &str, least: f64) {
    for _ in 0..1000 {
        if replica.metric(series).await >= least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{series} is not {least} after 20 s");
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
fn role_without(resource: &str, verb: &str) -> Value {
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

/// Roles are read from a watch: waits until the API server has seen that the program may, or may no longer.
async fn is(program: &Api, resource: &'static str, verb: &'static str, granted: bool) {
    let access = match resource {
        "serviceaccounts" => [verb, "", resource, "", ""],
        "secrets" => [verb, "", resource, NAMESPACE, SECRET],
        _ => [verb, CONFIGURATIONS[0], resource, "", ACCOUNT],
    };
    for _ in 0..1000 {
        if may(program, access).await == granted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{verb} {resource}: not {granted} after 20 s");
}

/// The rules that apply to whoever asks.
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
