//! `kubectl apply -f all.yaml`: the pod comes before the watch has shown its account.

use std::time::{Duration, Instant};

use eks_pod_identity_webhook::injection::account::Account;
use serde_json::json;

use crate::support::{
    ROLE, ROLE_ANNOTATION, account,
    client::request,
    eventually, minimal_of, patch_of, recorded, recorded_account,
    server::{Options, Server},
};

#[tokio::test]
async fn an_account_that_arrives_50_ms_later_gives_its_role() {
    let mut server = Server::start(Options::default()).await;
    let mut client = server.client().await;
    client.send(&request("POST", "/mutate?timeout=10s", &minimal_of("late"))).await;
    eventually("the request waits", || server.metric("admissions_in_flight") == 1.0).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.writer.applied("payments", "late", account(&[(ROLE_ANNOTATION, ROLE)]));

    let response = client.response().await;
    assert_eq!(response.status, 200);
    assert!(patch_of(&response.json()).is_some());
    assert_eq!(server.metric(r#"lookup_wait_duration_seconds_count{result="arrived"}"#), 1.0);
    assert_eq!(server.metric("admissions_in_flight"), 0.0);
}

#[tokio::test]
async fn an_account_that_never_arrives_is_answered_within_half_of_the_callers_timeout() {
    let server = Server::start(Options::patient()).await;
    let mut client = server.client().await;
    let started = Instant::now();
    client.send(&request("POST", "/mutate?x=y&timeout=200ms", &minimal_of("never"))).await;
    let response = client.response().await;
    assert!(started.elapsed() >= Duration::from_millis(100), "it was not waited for");
    assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
    assert_eq!(response.text(), "the pod's ServiceAccount has not been seen yet; try again\n");
    assert_eq!(server.metric(r#"lookup_wait_duration_seconds_count{result="timed_out"}"#), 1.0);
    let series = r#"admissions_total{operation="CREATE",outcome="unavailable",reason="unknown_account"}"#;
    assert_eq!(server.metric(series), 1.0);
}

#[tokio::test]
async fn a_known_account_never_waits() {
    let mut server = Server::start(Options::default()).await;
    server.writer.applied("payments", "new", Account::Nothing);
    let mut client = server.client().await;
    for body in [minimal_of("plain"), minimal_of("new"), minimal_of("api"), recorded("mirror-pod")] {
        assert_eq!(client.mutate(&body).await.status, 200);
    }
    for result in ["arrived", "timed_out", "abandoned"] {
        let series = format!(r#"lookup_wait_duration_seconds_count{{result="{result}"}}"#);
        assert_eq!(server.metric(&series), 0.0);
    }
}

#[tokio::test]
async fn an_account_deleted_and_created_again_is_waited_for() {
    let mut server = Server::start(Options::default()).await;
    server.writer.deleted("payments", "api");
    let mut client = server.client().await;
    client.send(&request("POST", "/mutate", &recorded("minimal"))).await;
    eventually("the request waits", || server.metric("admissions_in_flight") == 1.0).await;
    server.writer.applied("payments", "api", recorded_account("payments", "api").unwrap());
    let response = client.response().await;
    assert_eq!(
        response.json()["response"]["auditAnnotations"],
        json!({"outcome": "injected", "role-arn": ROLE})
    );
}

#[tokio::test]
async fn a_caller_that_goes_away_is_counted() {
    let server = Server::start(Options::patient()).await;
    let mut client = server.client().await;
    client.send(&request("POST", "/mutate", &minimal_of("never"))).await;
    eventually("the request waits", || server.metric("admissions_in_flight") == 1.0).await;
    drop(client);
    eventually("it is counted", || server.metric("admissions_in_flight") == 0.0).await;
    let series = r#"admissions_total{operation="CREATE",outcome="unavailable",reason="abandoned"}"#;
    assert_eq!(server.metric(series), 1.0);
    assert_eq!(server.metric(r#"lookup_wait_duration_seconds_count{result="abandoned"}"#), 1.0);
    assert_eq!(server.metric("connections_open"), 0.0);
}
