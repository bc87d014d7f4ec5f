//! What the cluster's audit log says of us.

use std::{collections::BTreeSet, time::Duration};

use serde_json::Value;

use crate::{
    control_plane::ControlPlane,
    harness::{Test, tests},
    pods::{has_role, pod},
    rights,
    support::ROLE,
    webhook::{Cluster, shared},
};

pub(crate) const TESTS: &[Test] =
    tests![the_audit_log_says_which_pod_was_given_which_role, admissions_cost_the_api_server_no_request];

async fn the_audit_log_says_which_pod_was_given_which_role() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("audit").await;
    api.create_pod("audit", &pod("audited")).await.unwrap();
    let event = logged(&cluster.plane, |event| {
        event["verb"] == "create"
            && event["objectRef"]["resource"] == "pods"
            && event["objectRef"]["namespace"] == "audit"
    })
    .await;
    let annotations = &event["annotations"];
    assert_eq!(annotations["pod-identity.eks.amazonaws.com/role-arn"], ROLE, "{event}");
    assert_eq!(annotations["pod-identity.eks.amazonaws.com/outcome"], "injected", "{event}");
}

/// How many pods are created.
const PODS: usize = 200;

async fn admissions_cost_the_api_server_no_request() {
    let cluster = Cluster::start("requests").await;
    let api = cluster.api().await;
    api.create_namespace("requests").await;
    assert!(has_role(&api.create_pod("requests", &pod("first")).await.unwrap()));
    let read = async || {
        let metrics = api.text("/metrics").await.unwrap();
        let series = metrics.lines().filter(|line| line.starts_with("apiserver_request_total{"));
        series
            .filter(|line| {
                line.contains(r#"resource="serviceaccounts""#) && !line.contains(r#"verb="WATCH""#)
            })
            .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
            .sum::<f64>()
    };
    let before = read().await;
    for index in 0..PODS {
        let pod = api.create("/api/v1/namespaces/requests/pods", &pod(&format!("pod-{index}"))).await;
        assert!(has_role(&pod.unwrap()));
    }
    let injected = r#"admissions_total{operation="CREATE",outcome="injected",reason="role"}"#;
    assert_eq!(cluster.metric(injected).await, 1.0 + PODS as f64);
    assert_eq!(read().await - before, 0.0, "requests for ServiceAccounts other than watches");

    // All that we ever asked for is what the manifests grant, each verb of it that this version needs, and it was granted.
    logged(&cluster.plane, |event| event["objectRef"]["name"] == format!("pod-{}", PODS - 1)).await;
    let events = cluster.plane.audit_events();
    let ours: Vec<_> = events.iter().filter(|event| event["user"]["username"] == Cluster::user()).collect();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let asked: BTreeSet<_> =
        ours.iter().map(|event| (text(&event["objectRef"]["resource"]), text(&event["verb"]))).collect();
    let used = rights::used(&cluster.plane.version());
    let used = used.iter().map(|granted| (granted.resource.to_owned(), granted.verb.to_owned()));
    assert_eq!(asked, used.collect());
    for event in ours {
        assert_ne!(event["responseStatus"]["code"], 403, "{event}");
    }
}

/// Waits until the audit log has such an event.
async fn logged(plane: &ControlPlane, wanted: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..1000 {
        if let Some(event) = plane.audit_events().into_iter().find(&wanted) {
            return event;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the audit log does not say it within 20 s");
}
