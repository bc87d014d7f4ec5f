//! What can be seen of a running server, beside its answers.

use std::time::Duration;

use eks_pod_identity_webhook::lifecycle::Phase;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

use crate::support::{
    self, ROLE, ROLE_ANNOTATION, account,
    client::request,
    eventually, metric, recorded,
    server::{Options, Server, plain, plain_get},
};

#[tokio::test]
async fn warnings_are_counted_by_what_they_are_about() {
    let mut server = Server::start(Options::default()).await;
    server.writer.applied("payments", "typo", account(&[(ROLE_ANNOTATION, "payments-api")]));
    let expiration = ("eks.amazonaws.com/token-expiration", "forever");
    server.writer.applied("payments", "forever", account(&[(ROLE_ANNOTATION, ROLE), expiration]));
    let mut client = server.client().await;
    for body in [
        recorded("minimal"),
        recorded("mount-path-taken"),
        recorded("token-expiration-bad"),
        support::minimal_of("typo"),
        support::minimal_of("forever"),
    ] {
        assert_eq!(client.mutate(&body).await.status, 200);
    }
    for kind in ["role_arn", "account_annotation", "pod_annotation", "mount_path"] {
        let series = format!("admission_warnings_total{{kind=\"{kind}\"}}");
        eventually(kind, || server.metric(&series) == 1.0).await;
    }
    assert_eq!(server.metric(r#"accounts{state="malformed"}"#), 2.0);
    assert_eq!(server.metric(r#"accounts{state="annotated"}"#), 1.0);
    assert_eq!(server.metric(r#"accounts{state="unannotated"}"#), 2.0);
}

#[tokio::test]
async fn namespaces_are_counted_where_that_was_asked_for() {
    let mut server = Server::start(Options { metrics_namespaces: 1, ..Options::patient() }).await;
    for namespace in ["second", "third"] {
        server.writer.applied(namespace, "api", account(&[(ROLE_ANNOTATION, ROLE)]));
    }
    let mut client = server.client().await;
    let of = |namespace: &str| {
        let body = String::from_utf8(recorded("mount-path-taken")).unwrap();
        body.replace("payments", namespace).into_bytes()
    };
    // Who goes away while its account is waited for counts for its namespace, too.
    client.send(&request("POST", "/mutate", &support::minimal_of("never"))).await;
    eventually("it waits", || server.metrics.admissions.in_flight.get() == 1).await;
    drop(client);
    let mut client = server.client().await;
    for namespace in ["payments", "second", "third"] {
        assert_eq!(client.mutate(&of(namespace)).await.status, 200);
    }
    assert_eq!(client.mutate(&recorded("unannotated-account")).await.status, 200);
    for (namespace, outcome, count) in [
        ("payments", "unavailable", 1.0),
        ("payments", "injected", 1.0),
        ("payments", "skipped", 1.0),
        ("other", "injected", 2.0),
        ("second", "injected", 0.0),
    ] {
        let labels = format!("{{outcome=\"{outcome}\",pod_namespace=\"{namespace}\"}}");
        let series = format!("namespace_admissions_total{labels}");
        eventually(&series, || server.metric(&series) == count).await;
    }
    let warnings = r#"namespace_admission_warnings_total{pod_namespace="other"}"#;
    eventually(warnings, || server.metric(warnings) == 2.0).await;

    let plain = Server::start(Options::default()).await;
    let exposition = String::from_utf8(plain.metrics.render()).unwrap();
    assert!(!exposition.contains("pod_namespace"), "off unless asked for");
}

#[tokio::test]
async fn readiness_is_a_metric() {
    let mut server = Server::start_unsynced(Options::default()).await;
    let scrape = async || {
        let (_, exposition) = plain_get(server.admin, "/metrics").await;
        ["ready", "draining"].map(|name| metric(&exposition, &format!("pod_identity_webhook_{name}")))
    };
    assert_eq!(scrape().await, [0.0, 0.0]);
    server.writer.begin_list();
    server.writer.end_list();
    assert_eq!(scrape().await, [1.0, 0.0]);
    server.announcer.announce(Phase::Draining);
    assert_eq!(scrape().await, [0.0, 1.0]);
}

#[tokio::test]
async fn connections_are_counted_by_how_they_end() {
    let mut options = Options::default();
    options.timeouts.header = Duration::from_millis(20);
    let server = Server::start(options).await;
    let closed = |reason: &str| server.metric(&format!("connections_closed_total{{reason=\"{reason}\"}}"));

    let mut client = server.client().await;
    assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
    client.stream.shutdown().await.unwrap();
    eventually("its peer closed it", || closed("finished") == 1.0).await;
    let mut client = server.client().await;
    client.send(b"no HTTP\r\n\r\n").await;
    eventually("it is no HTTP", || closed("broken") == 1.0).await;
    let mut client = server.client().await;
    client.send(b"POST /mut").await;
    eventually("its header came too slowly", || closed("slow_header") == 1.0).await;
    let _client = server.client().await;
    server.announcer.announce(Phase::Closing);
    eventually("the process ends", || closed("drained") == 1.0).await;
}

#[tokio::test]
async fn the_debug_pages_show_the_injection_of_an_account_and_its_reason() {
    let mut server = Server::start(Options { debug_endpoints: true, ..Options::default() }).await;
    let account_of = async |name: &str| -> Value {
        let path = format!("/debug/accounts?namespace=payments&name={name}");
        let (status, body) = plain_get(server.admin, &path).await;
        assert_eq!(status, 200);
        serde_json::from_str(&body).unwrap()
    };
    let api = account_of("api").await;
    assert_eq!((&api["reason"], &api["roleArn"]), (&"role".into(), &ROLE.into()));
    assert_eq!((&api["audience"], &api["region"]), (&"sts.amazonaws.com".into(), &"us-east-1".into()));
    assert!(
        api["unless"]["skip_label"].as_str().unwrap().contains("eks.amazonaws.com/skip-pod-identity-webhook")
    );
    assert_eq!(account_of("plain").await["reason"], "no_role");
    assert_eq!(account_of("nobody").await["reason"], "unknown_account");
    server.writer.applied("payments", "typo", account(&[(ROLE_ANNOTATION, "payments-api")]));
    let typo = account_of("typo").await;
    assert_eq!(typo["state"], "malformed");
    assert_eq!(typo["warnings"].as_array().unwrap().len(), 1);

    let (_, all) = plain_get(server.admin, "/debug/accounts?namespace=payments").await;
    let all: Value = serde_json::from_str(&all).unwrap();
    let names: Vec<_> = all["accounts"].as_array().unwrap().iter().map(|account| &account["name"]).collect();
    assert_eq!(names, ["api", "default", "plain", "typo"]);
    let (status, config) = plain_get(server.admin, "/debug/config").await;
    assert_eq!((status, config.contains("flags")), (200, true));
    assert_eq!(plain_get(server.admin, "/debug/accounts").await.0, 400);
    let post = b"POST /debug/config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(plain(server.admin, post).await.0, 405);
}

#[tokio::test]
async fn the_debug_pages_are_not_there_unless_asked_for() {
    let server = Server::start(Options::default()).await;
    for path in ["/debug/config", "/debug/accounts?namespace=payments"] {
        assert_eq!(plain_get(server.admin, path).await.0, 404);
    }
}
