//! What is stored.

use serde_json::{Value, json};

use crate::{
    cases,
    harness::{Test, tests},
    identity,
    support::{self, ROLE},
    webhook::shared,
};

pub(crate) const TESTS: &[Test] = tests![
    pods_of_every_kind_are_stored_with_their_identity,
    a_pod_created_from_a_stored_one_is_given_nothing_twice,
    nothing_but_the_identity_is_added,
    warnings_reach_the_creator_of_the_pod
];

async fn pods_of_every_kind_are_stored_with_their_identity() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("pods").await;
    for case in cases::all() {
        api.create_account("pods", case.name, &case.account).await;
        let stored = api.create_pod("pods", &case.pod).await;
        let stored = stored.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        assert_eq!(identity::of(&stored), case.expected, "{}", case.name);
    }
}

async fn a_pod_created_from_a_stored_one_is_given_nothing_twice() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("copies").await;
    let first = api.create_pod("copies", &pod("first")).await.unwrap();
    let copy = json!({"metadata": {"name": "second"}, "spec": first["spec"]});
    let second = api.create_pod("copies", &copy).await.unwrap();
    assert_eq!(first["spec"], second["spec"]);
}

async fn nothing_but_the_identity_is_added() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("nothing-lost").await;
    let mut plain = rich_pod("plain");
    plain["metadata"]["labels"] = json!({"eks.amazonaws.com/skip-pod-identity-webhook": ""});
    let plain = api.create_pod("nothing-lost", &plain).await.unwrap();
    let mut injected = api.create_pod("nothing-lost", &rich_pod("injected")).await.unwrap();
    assert_ne!(plain["spec"], injected["spec"]);

    let spec = &mut injected["spec"];
    without(&mut spec["volumes"], |volume| volume["name"] == "aws-token");
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().unwrap() {
            without(&mut container["volumeMounts"], |mount| mount["name"] == "aws-token");
            without(&mut container["env"], |entry| entry["name"].as_str().unwrap().starts_with("AWS_"));
            if container["env"] == json!([]) {
                container.as_object_mut().unwrap().remove("env");
            }
        }
    }
    // The token of the API server has a random name.
    let [injected, plain] = [injected, plain].map(|pod| {
        let volumes = pod["spec"]["volumes"].as_array().unwrap().iter();
        let mut names = volumes.filter_map(|volume| volume["name"].as_str());
        let name = names.find(|name| name.starts_with("kube-api-access-")).unwrap();
        let spec = pod["spec"].to_string().replace(name, "kube-api-access");
        serde_json::from_str::<Value>(&spec).unwrap()
    });
    assert_eq!(injected, plain);
}

async fn warnings_reach_the_creator_of_the_pod() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("warnings").await;
    let mut pod = pod("warned");
    pod["metadata"]["annotations"] = json!({"eks.amazonaws.com/token-expiration": "soon"});
    let response = api.create_raw("/api/v1/namespaces/warnings/pods", &pod).await;
    let warnings = response.headers().get_all("warning").iter().map(|value| value.to_str().unwrap());
    let warnings: Vec<_> = warnings.collect();
    let want = "eks.amazonaws.com/token-expiration";
    assert!(warnings.iter().any(|warning| warning.contains(want)), "{warnings:?}");
}

/// A pod of the account `api`.
pub(crate) fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": "app"}]},
    })
}

/// Whether a stored pod of one container has the role.
pub(crate) fn has_role(pod: &Value) -> bool {
    identity::of(pod)["containers"]["app"]["AWS_ROLE_ARN"] == ROLE
}

/// A pod with what other webhooks lost.
fn rich_pod(name: &str) -> Value {
    let recorded: Value = serde_json::from_slice(&support::recorded("mesh-sidecar")).unwrap();
    let mut spec = recorded["request"]["object"]["spec"].clone();
    without(&mut spec["volumes"], |volume| volume["name"].as_str().unwrap().starts_with("kube-api-access"));
    for list in ["initContainers", "containers"] {
        for container in spec[list].as_array_mut().unwrap() {
            without(&mut container["volumeMounts"], |mount| {
                mount["name"].as_str().unwrap().starts_with("kube-api-access")
            });
        }
    }
    for field in ["priority", "preemptionPolicy"] {
        spec.as_object_mut().unwrap().remove(field);
    }
    json!({"metadata": {"name": name}, "spec": spec})
}

fn without(list: &mut Value, unwanted: impl Fn(&Value) -> bool) {
    if let Some(list) = list.as_array_mut() {
        list.retain(|item| !unwanted(item));
    }
}
