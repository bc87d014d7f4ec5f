//! Graceful shutdown loses no request.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use eks_pod_identity_webhook::lifecycle::Phase;

use crate::support::{
    ROLE, ROLE_ANNOTATION, account,
    client::{Client, Handshake, request},
    eventually, minimal_of, recorded,
    server::{Options, Server},
    within,
};

#[tokio::test]
async fn draining_answers_with_connection_close_and_is_not_ready() {
    let server = Server::start(Options::default()).await;
    let mut open = server.client().await;
    assert_eq!(open.mutate(&recorded("minimal")).await.header("connection"), None);
    assert_eq!(server.readyz().await.0, 200);

    server.announcer.announce(Phase::Draining);
    assert_eq!(server.readyz().await, (503, "not ready: shutting down\n".to_owned()));
    for mut client in [open, server.client().await] {
        let response = client.mutate(&recorded("minimal")).await;
        assert_eq!((response.status, response.header("connection")), (200, Some("close")));
        assert!(client.is_closed().await);
    }
}

#[tokio::test]
async fn closing_ends_idle_connections_and_finishes_requests_in_flight() {
    let Server { address, ca, announcer, serving, mut writer, metrics, .. } =
        Server::start(Options::patient()).await;
    let ca = ca.pem();
    let mut idle = Client::connect(address, &ca).await;
    assert_eq!(idle.mutate(&recorded("minimal")).await.status, 200);
    let mut fresh = Client::connect(address, &ca).await;
    let mut busy = Client::connect(address, &ca).await;
    busy.send(&request("POST", "/mutate", &minimal_of("late"))).await;
    eventually("the request waits", || metrics.admissions.in_flight.get() == 1).await;

    announcer.announce(Phase::Draining);
    announcer.announce(Phase::Closing);
    assert!(idle.is_closed().await && fresh.is_closed().await);
    eventually("new connections are refused", || std::net::TcpStream::connect(address).is_err()).await;
    assert!(!serving.is_finished(), "a request is in flight");

    writer.applied("payments", "late", account(&[(ROLE_ANNOTATION, ROLE)]));
    let response = busy.response().await;
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
    within("the end", serving).await.unwrap();
}

/// Clients as kube-apiserver: keep-alive, a new connection when the old one was closed after an answer. None of their
/// requests may fail from the beginning of the drain until the port is closed.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_under_load() {
    let Server { address, ca, announcer, serving, metrics, .. } = Server::start(Options::default()).await;
    let is_closing = Arc::new(AtomicBool::new(false));
    let clients = (0..8).map(|_| {
        let (ca, is_closing) = (ca.pem(), Arc::clone(&is_closing));
        tokio::spawn(async move {
            loop {
                let mut client = match Client::try_connect(address, &ca, Handshake::default()).await {
                    Ok(client) => client,
                    Err(error) if is_closing.load(Ordering::Relaxed) => return error,
                    Err(error) => panic!("turned away while draining: {error}"),
                };
                loop {
                    let response = client.mutate(&recorded("deployment-web")).await;
                    assert_eq!(response.status, 200);
                    if response.header("connection") == Some("close") {
                        break;
                    }
                }
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let answered = |count| {
        let (metrics, start) = (&metrics, metrics.admissions.duration.get_sample_count());
        eventually("answers", move || metrics.admissions.duration.get_sample_count() > start + count)
    };
    answered(200).await;
    announcer.announce(Phase::Draining);
    answered(200).await;
    is_closing.store(true, Ordering::Relaxed);
    announcer.announce(Phase::Closing);
    within("the end", serving).await.unwrap();
    for client in clients {
        within("the client's end", client).await.unwrap();
    }
}
