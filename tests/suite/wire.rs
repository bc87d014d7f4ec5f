//! The webhook's port, byte by byte.

use std::time::Duration;

use eks_pod_identity_webhook::tls::TlsVersion;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    ROLE, ROLE_ANNOTATION, account,
    client::{Client, Handshake, request},
    eventually, minimal_of, recorded,
    server::{Options, Server, plain, plain_get},
    within,
};

async fn server_and_client() -> (Server, Client) {
    let server = Server::start(Options::default()).await;
    let client = server.client().await;
    (server, client)
}

fn with_content_type(content_type: &str, body: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(request("POST", "/mutate", body)).unwrap();
    text.replace("Content-Type: application/json\r\n", content_type).into_bytes()
}

#[tokio::test]
async fn every_situation_has_its_answer() {
    let (server, mut client) = server_and_client().await;
    let minimal = recorded("minimal");
    for (name, request, status, text) in [
        ("understood", request("POST", "/mutate?timeout=10s", &minimal), 200, r#""allowed":true"#),
        ("odd timeout", request("POST", "/mutate?timeout=soon", &minimal), 200, r#""allowed":true"#),
        ("health", request("GET", "/healthz", b""), 200, "ok"),
        ("empty", request("POST", "/mutate", b""), 400, "the body is not JSON"),
        ("no review", request("POST", "/mutate", b"{}"), 400, "the body is not an AdmissionReview"),
        ("cut off", request("POST", "/mutate", &minimal[..2000]), 400, "the body is not JSON"),
        ("method", request("GET", "/mutate", b""), 405, "only POST is answered at this path"),
        ("method", request("POST", "/healthz", b""), 405, "only GET, HEAD is answered at this path"),
        ("path", request("POST", "/", &minimal), 404, "this port has /mutate and /healthz"),
        ("path", request("GET", "/metrics", b""), 404, "this port has /mutate and /healthz"),
        ("type", with_content_type("Content-Type: text/plain\r\n", &minimal), 415, "application/json"),
        ("no type", with_content_type("", &minimal), 415, "application/json"),
        (
            "charset",
            with_content_type("Content-Type: Application/JSON; charset=utf-8\r\n", &minimal),
            200,
            "allowed",
        ),
        (
            "gzip",
            with_content_type("Content-Type: application/json\r\nContent-Encoding: gzip\r\n", &minimal),
            415,
            "without a content encoding",
        ),
    ] {
        client.send(&request).await;
        let response = client.response().await;
        assert_eq!(response.status, status, "{name}: {response:?}");
        assert!(response.text().contains(text), "{name}: {response:?}");
        if status >= 400 {
            assert_eq!(response.text().lines().count(), 1, "{name}: one clear sentence");
        }
        // Only an unread body ends the connection.
        if response.header("connection") == Some("close") {
            assert!(matches!(status, 404 | 415), "{name}: {response:?}");
            assert!(client.is_closed().await, "{name}");
            client = server.client().await;
        }
    }
    assert_eq!(server.metric("connections_total"), 5.0, "four bodies were not read");
    for (code, count) in [(200, 4.0), (400, 3.0), (404, 2.0), (405, 2.0), (415, 3.0)] {
        assert_eq!(server.metric(&format!(r#"http_responses_total{{code="{code}"}}"#)), count, "{code}");
    }
    let series = r#"admissions_total{operation="unknown",outcome="invalid",reason="bad_review"}"#;
    assert_eq!(server.metric(series), 3.0);
    let series = r#"admissions_total{operation="CREATE",outcome="injected",reason="role"}"#;
    assert_eq!(server.metric(series), 3.0);
    assert_eq!(server.metric("admission_duration_seconds_count"), 6.0);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_server, mut client) = server_and_client().await;
    let mut requests = Vec::new();
    let names = ["minimal", "delete", "deployment-web"];
    for name in names {
        requests.extend(request("POST", "/mutate", &recorded(name)));
    }
    client.send(&requests).await;
    for name in names {
        let sent: Value = serde_json::from_slice(&recorded(name)).unwrap();
        assert_eq!(client.response().await.json()["response"]["uid"], sent["request"]["uid"], "{name}");
    }
}

#[tokio::test]
async fn requests_may_come_in_pieces() {
    let (_server, mut client) = server_and_client().await;
    for byte in request("POST", "/mutate", &recorded("minimal")) {
        client.send(&[byte]).await;
    }
    assert_eq!(client.response().await.status, 200);

    let body = recorded("minimal");
    let (first, second) = body.split_at(1000);
    let head = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes()).await;
    for chunk in [first, second, b""] {
        client.send(format!("{:x}\r\n", chunk.len()).as_bytes()).await;
        client.send(chunk).await;
        client.send(b"\r\n").await;
    }
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn bodies_over_the_limit_get_413_even_while_they_are_being_sent() {
    let (server, _) = server_and_client().await;
    let limit = Options::default().requests.body_bytes;

    let mut client = server.client().await;
    client.send(&request("POST", "/mutate", &vec![b' '; limit + 1])).await;
    let response = client.response().await;
    assert_eq!((response.status, response.text()), (413, "the body is larger than 1048576 bytes\n"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(client.is_closed().await);

    let mut client = server.client().await;
    let head = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(head.as_bytes()).await;
    let chunk = [format!("{:x}\r\n", limit / 2 + 1).as_bytes(), &vec![b' '; limit / 2 + 1], b"\r\n"].concat();
    client.send(&chunk).await;
    client.send(&chunk).await;
    client.send(b"0\r\n\r\n").await;
    assert_eq!(client.response().await.status, 413);

    // `Expect: 100-continue` is answered at once, and so is a body that would not be read to its end.
    for (length, expect) in [(limit + 1, "Expect: 100-continue\r\n"), (limit * 100, "")] {
        let mut client = server.client().await;
        let head = format!(
            "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{expect}Content-Length: {length}\r\n\r\n"
        );
        client.send(head.as_bytes()).await;
        assert_eq!(client.response().await.status, 413);
    }

    let mut client = server.client().await;
    client.send(&request("POST", "/mutate", &vec![b' '; limit])).await;
    assert_eq!(client.response().await.status, 400, "just the limit is read");
}

#[tokio::test]
async fn slow_headers_and_bodies_are_cut_off_and_idle_connections_are_not() {
    let mut options = Options::default();
    options.timeouts.header = Duration::from_millis(50);
    options.requests.body_time = Duration::from_millis(50);
    let server = Server::start(options).await;

    let mut idle = server.client().await;
    assert_eq!(idle.mutate(&recorded("minimal")).await.status, 200);

    let mut slow = server.client().await;
    slow.send(b"POST /mutate HTTP/1.1\r\nHost: ").await;
    assert!(slow.is_closed().await);

    let mut slow = server.client().await;
    let request = request("POST", "/mutate", &recorded("minimal"));
    slow.send(&request[..request.len() - 1]).await;
    let response = slow.response().await;
    assert_eq!((response.status, response.text()), (408, "the body came too slowly\n"));

    // By now the idle connection has been silent for longer than a header may take.
    assert_eq!(idle.mutate(&recorded("minimal")).await.status, 200);
}

#[tokio::test]
async fn peers_without_tls_or_http_are_rejected_and_others_served() {
    let mut options = Options::default();
    options.timeouts.handshake = Duration::from_millis(200);
    let server = Server::start(options).await;
    let mut neighbour = server.client().await;

    let (status, body) = plain(server.address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!((status, &*body), (0, ""), "no HTTP comes back");
    eventually("it is counted", || server.metric(r#"tls_handshakes_total{result="failed"}"#) == 1.0).await;

    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let mut rest = Vec::new();
    within("the end of a silent handshake", silent.read_to_end(&mut rest)).await.ok();
    assert_eq!(server.metric(r#"tls_handshakes_total{result="timed_out"}"#), 1.0);

    for garbage in [&b"\r\n\r\n\r\n\r\nnonsense\r\n\r\n"[..], &[0xff; 3000], b"GET /healthz HTTP/9.9\r\n\r\n"]
    {
        let mut client = server.client().await;
        client.stream.write_all(garbage).await.unwrap();
        let response = within("an answer or the end", client.try_response()).await;
        assert!(response.as_ref().is_none_or(|response| response.status == 400), "{response:?}");
    }
    let mut gone = server.client().await;
    gone.send(&request("POST", "/mutate", &recorded("minimal"))[..500]).await;
    drop(gone);
    assert_eq!(neighbour.mutate(&recorded("minimal")).await.status, 200);
    drop(neighbour);
    eventually("all have gone", || server.metric("connections_open") == 0.0).await;
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_only_http_1_1() {
    let server = Server::start(Options::default()).await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let handshake = Handshake { version: Some(version), http2: true, ..Handshake::default() };
        let mut client = Client::try_connect(server.address, &server.ca.pem(), handshake).await.unwrap();
        let (_, session) = client.stream.get_ref();
        assert_eq!(session.protocol_version(), Some(version.version));
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
    }
}

#[tokio::test]
async fn tls_1_3_can_be_the_oldest_that_is_spoken() {
    let options = Options { tls_min_version: TlsVersion::Tls13, ..Options::default() };
    let server = Server::start(options).await;
    for (version, is_spoken) in [(&rustls::version::TLS12, false), (&rustls::version::TLS13, true)] {
        let handshake = Handshake { version: Some(version), ..Handshake::default() };
        let client = Client::try_connect(server.address, &server.ca.pem(), handshake).await;
        assert_eq!(client.is_ok(), is_spoken, "{version:?}");
    }
}

#[tokio::test]
async fn a_client_certificate_can_be_required() {
    let options = Options { require_client_cert: true, ..Options::default() };
    let server = Server::start(options).await;
    let pair = server.ca.client();
    let with = Handshake { client_cert: Some(&pair), ..Handshake::default() };
    let mut client = Client::try_connect(server.address, &server.ca.pem(), with).await.unwrap();
    assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);

    let stranger = crate::support::pki::Ca::new().client();
    for client_cert in [None, Some(&stranger)] {
        let handshake = Handshake { client_cert, ..Handshake::default() };
        // In TLS 1.3 the client hears of the refusal only when it reads.
        if let Ok(mut client) = Client::try_connect(server.address, &server.ca.pem(), handshake).await {
            client.stream.write_all(&request("GET", "/healthz", b"")).await.ok();
            assert!(within("the end", client.try_response()).await.is_none());
        }
    }
    eventually("both are counted", || server.metric(r#"tls_handshakes_total{result="failed"}"#) == 2.0).await;
}

#[tokio::test]
async fn a_new_connection_waits_while_every_other_one_is_being_answered() {
    let mut server = Server::start(Options { max_connections: 1, ..Options::patient() }).await;
    let mut first = server.client().await;
    first.send(&request("POST", "/mutate", &minimal_of("late"))).await;
    eventually("it waits", || server.metric("admissions_in_flight") == 1.0).await;
    let (address, ca) = (server.address, server.ca.pem());
    let second =
        tokio::spawn(async move { Client::connect(address, &ca).await.mutate(&recorded("minimal")).await });
    assert_eq!(server.metric("connections_total"), 1.0);
    server.writer.applied("payments", "late", account(&[(ROLE_ANNOTATION, ROLE)]));
    assert_eq!(first.response().await.status, 200);
    assert_eq!(within("its turn", second).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_admin_port_answers_probes_and_scrapes_over_plain_http() {
    let server = Server::start(Options::default()).await;
    assert_eq!(plain_get(server.admin, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(plain_get(server.admin, "/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(plain_get(server.admin, "/mutate").await.0, 404);
    assert_eq!(
        plain(server.admin, b"POST /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.0,
        405
    );
    let (status, metrics) = plain_get(server.admin, "/metrics").await;
    assert_eq!(status, 200);
    for name in [
        "pod_identity_webhook_build_info",
        "pod_identity_webhook_tls_certificate_expiry_timestamp_seconds",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(&format!("# TYPE {name} gauge")), "{name}");
    }
    let expiry = server.metric("tls_certificate_expiry_timestamp_seconds");
    assert!(expiry > 4e9, "{expiry}");
}

#[tokio::test]
async fn an_oversized_body_that_comes_slowly_is_oversized() {
    let mut options = Options::default();
    options.requests.body_time = Duration::from_millis(50);
    options.requests.body_bytes = 100;
    let server = Server::start(options).await;
    let mut client = server.client().await;
    client.send(&request("POST", "/mutate", &[b' '; 200])[..200]).await;
    assert_eq!(client.response().await.status, 413);
}
