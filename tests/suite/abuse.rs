//! Those who mean harm, or cause it: what they can hold is bounded, and others are served meanwhile.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

use crate::support::{
    ROLE, ROLE_ANNOTATION, account,
    client::{Client, request},
    daemon, eventually, minimal_of, patch_of,
    pki::Ca,
    recorded,
    server::{Options, Server, plain_get},
    within,
};

/// `minimal` for a pod of some account in some namespace.
fn review_of(namespace: &str, account: &str) -> Vec<u8> {
    let text = String::from_utf8(minimal_of(account)).unwrap();
    text.replace(r#""namespace":"payments""#, &format!(r#""namespace":"{namespace}""#)).into_bytes()
}

async fn send_review(server: &Server, namespace: &str, account: &str) -> Client {
    let mut client = server.client().await;
    client.send(&request("POST", "/mutate?timeout=7200s", &review_of(namespace, account))).await;
    client
}

fn refused(server: &Server) -> f64 {
    server.metric(r#"lookup_wait_duration_seconds_count{result="refused"}"#)
}

fn waiting(server: &Server) -> f64 {
    server.metric("admissions_in_flight")
}

#[tokio::test]
async fn a_namespaces_flood_of_unknown_accounts_takes_no_wait_from_others() {
    let mut options = Options::patient();
    options.requests.waits = 20;
    let mut server = Server::start(options).await;
    let mut flood = Vec::new();
    for number in 0..60 {
        flood.push(send_review(&server, "tenant", &format!("made-up-{number}")).await);
    }
    eventually("all but the namespace's part are refused", || refused(&server) == 55.0).await;
    assert_eq!(waiting(&server), 5.0, "a quarter of the waits");

    // Who is known does not notice, and who is not is waited for.
    let mut neighbour = server.client().await;
    for name in ["minimal", "unannotated-account"] {
        assert_eq!(neighbour.mutate(&recorded(name)).await.status, 200, "{name}");
    }
    let mut late = send_review(&server, "neighbour", "late").await;
    eventually("it waits", || waiting(&server) == 6.0).await;
    server.writer.applied("neighbour", "late", account(&[(ROLE_ANNOTATION, ROLE)]));
    let response = late.response().await;
    assert!(response.status == 200 && patch_of(&response.json()).is_some(), "{response:?}");

    // A refused request is answered with Retry-After, and served once its account is known, during the flood.
    let mut told_to_wait = 0;
    for mut client in flood.drain(5..) {
        let response = client.response().await;
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")));
        told_to_wait += 1;
    }
    assert_eq!(told_to_wait, 55);
    server.writer.applied("tenant", "honest", account(&[(ROLE_ANNOTATION, ROLE)]));
    assert_eq!(neighbour.mutate(&review_of("tenant", "honest")).await.status, 200);
    let series = r#"admissions_total{operation="CREATE",outcome="unavailable",reason="unknown_account"}"#;
    assert_eq!(server.metric(series), 55.0);
    drop(flood);
    eventually("all waits are over", || waiting(&server) == 0.0).await;
    send_review(&server, "tenant", "made-up").await;
}

#[tokio::test]
async fn a_flood_from_made_up_namespaces_leaves_room_for_those_who_need_not_wait() {
    let mut options = Options::patient();
    options.requests.waits = 20;
    let server = Server::start(options).await;
    let mut flood = Vec::new();
    for number in 0..60 {
        flood.push(send_review(&server, &format!("made-up-{number}"), "none").await);
    }
    eventually("all but 20 are refused", || refused(&server) == 40.0).await;
    assert_eq!(waiting(&server), 20.0);
    assert_eq!(server.client().await.mutate(&recorded("minimal")).await.status, 200);
}

#[tokio::test]
async fn waits_are_bounded_in_memory() {
    let mut options = Options::patient();
    options.requests.memory = 100 << 10;
    let server = Server::start(options).await;
    let mut flood = Vec::new();
    for number in 0..40 {
        flood.push(send_review(&server, &format!("made-up-{number}"), "none").await);
    }
    eventually("all wait or are refused", || waiting(&server) + refused(&server) == 40.0).await;
    assert!((2.0..20.0).contains(&waiting(&server)), "{} wait", waiting(&server));
    assert_eq!(server.client().await.mutate(&recorded("minimal")).await.status, 200);
}

#[tokio::test]
async fn large_bodies_are_bounded_in_memory_and_small_ones_need_not_ask() {
    let mut options = Options::default();
    options.requests.memory = 1200 << 10;
    let server = Server::start(options).await;
    let mut large = recorded("minimal");
    large.resize(900 << 10, b' ');
    let large = request("POST", "/mutate", &large);
    let (all_but_one_byte, last_byte) = large.split_at(large.len() - 1);

    // There is room for one of them. Which of two concurrent ones gets it is not certain.
    let both = async {
        loop {
            let (mut first, mut second) = (server.client().await, server.client().await);
            first.send(all_but_one_byte).await;
            second.send(&large).await;
            let response = second.response().await;
            if response.status == 503 {
                return (first, response);
            }
            assert_eq!(response.status, 200);
        }
    };
    let (mut first, response) = within("the second is refused", both).await;
    assert_eq!((response.header("retry-after"), response.header("connection")), (Some("1"), Some("close")));
    let series = r#"admissions_total{operation="unknown",outcome="unavailable",reason="no_memory"}"#;
    assert_eq!(server.metric(series), 1.0);
    for name in ["minimal", "mesh-sidecar"] {
        assert_eq!(server.client().await.mutate(&recorded(name)).await.status, 200, "{name}");
    }
    first.send(last_byte).await;
    assert_eq!(first.response().await.status, 200);
    let mut again = server.client().await;
    again.send(&large).await;
    assert_eq!(again.response().await.status, 200, "there is room again");
}

#[tokio::test]
async fn trickling_peers_are_cut_off_like_silent_ones() {
    let mut options = Options::default();
    options.timeouts.handshake = Duration::from_millis(200);
    options.timeouts.header = Duration::from_millis(200);
    options.requests.body_time = Duration::from_millis(200);
    let server = Server::start(options).await;

    // A client hello that would go on for 16 KiB.
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(&[22, 3, 1, 0x3f, 0xff, 1, 0, 0x3f, 0xfb]).await.unwrap();
    within("the end of the handshake", async {
        while tcp.write_all(&[0]).await.is_ok() {
            pause().await
        }
    })
    .await;
    eventually("it is counted", || server.metric(r#"tls_handshakes_total{result="timed_out"}"#) == 1.0).await;

    let mut header = server.client().await;
    header.send(b"POST /mutate HTTP/1.1\r\nX: ").await;
    within("the end of the header", async {
        while header.stream.write_all(b"y").await.is_ok() {
            pause().await
        }
    })
    .await;

    let mut body = server.client().await;
    body.send(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
        .await;
    let trickle = async {
        while body.stream.write_all(b" ").await.is_ok() {
            pause().await
        }
    };
    within("the end of the body", trickle).await;
    assert_eq!(server.metric(r#"http_responses_total{code="408"}"#), 1.0);
    eventually("all have gone", || server.metric("connections_open") == 0.0).await;
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(5)).await;
}

/// Silent connections to an address, in the order in which they were accepted.
async fn silent(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut connections = Vec::new();
    for _ in 0..count {
        connections.push(TcpStream::connect(address).await.unwrap());
    }
    connections
}

#[tokio::test]
async fn silent_connections_make_room_for_those_that_send_requests() {
    let server = Server::start(Options { max_connections: 10, ..Options::default() }).await;
    let mut kept = server.client().await;
    assert_eq!(kept.mutate(&recorded("minimal")).await.status, 200);
    let flood = silent(server.address, 30).await;
    eventually("all are accepted", || server.metric("connections_total") == 31.0).await;
    // Time passes without a request.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(2)).await;
    tokio::time::resume();
    let mut clients = Vec::new();
    for _ in 0..9 {
        let mut client = server.client().await;
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
        clients.push(client);
    }
    assert_eq!(server.metric("connections_open"), 10.0);
    assert_eq!(server.metric(r#"tls_handshakes_total{result="evicted"}"#), 30.0, "all that were silent");
    for client in clients.iter_mut().chain([&mut kept]) {
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200, "none of those in use");
    }
    drop(flood);
}

#[tokio::test]
async fn the_longest_idle_connection_is_closed_when_all_are_in_use() {
    let server = Server::start(Options { max_connections: 3, ..Options::patient() }).await;
    let mut busy = send_review(&server, "neighbour", "late").await;
    eventually("it waits", || waiting(&server) == 1.0).await;
    let (mut first, mut second) = (server.client().await, server.client().await);
    for client in [&mut second, &mut first] {
        assert_eq!(client.mutate(&recorded("minimal")).await.status, 200);
    }
    let mut third = server.client().await;
    assert_eq!(third.mutate(&recorded("minimal")).await.status, 200);
    assert!(second.is_closed().await);
    eventually("it is counted", || server.metric(r#"connections_closed_total{reason="evicted"}"#) == 1.0)
        .await;
    assert_eq!(first.mutate(&recorded("minimal")).await.status, 200);
    // A request that we keep waiting is never cut off.
    let mut writer = server.writer;
    writer.applied("neighbour", "late", account(&[(ROLE_ANNOTATION, ROLE)]));
    assert_eq!(busy.response().await.status, 200);
}

#[tokio::test]
async fn silent_connections_to_the_admin_port_do_not_delay_probes() {
    for count in [10, 200] {
        let server = Server::start(Options { max_connections: 10, ..Options::default() }).await;
        let _flood = silent(server.admin, count).await;
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(within("the probe", plain_get(server.admin, path)).await.0, 200, "{count} {path}");
        }
    }
}

#[tokio::test]
async fn a_response_that_is_not_read_is_cut_off_and_its_memory_given_back() {
    let mut options = Options::default();
    options.timeouts.write = Duration::from_millis(300);
    options.requests.memory = 1 << 20;
    let server = Server::start(options).await;
    let large = large_answer();
    let large = request("POST", "/mutate", &large);
    let mut deaf = Vec::new();
    let is_refused = r#"admissions_total{operation="CREATE",outcome="unavailable",reason="no_memory"}"#;
    while server.metric(is_refused) == 0.0 {
        let mut client = server.client().await;
        client.send(&large).await;
        deaf.push(client);
        eventually("it is answered", || server.metric("admissions_in_flight") == 0.0).await;
        assert!(deaf.len() < 100, "the memory is never used up");
    }
    assert_eq!(server.client().await.mutate(&recorded("minimal")).await.status, 200);
    let cut_off = r#"connections_closed_total{reason="slow_read"}"#;
    eventually("those that hold responses are cut off", || server.metric(cut_off) > 0.0).await;
    within("their memory is free again", async {
        loop {
            let mut reads = server.client().await;
            reads.send(&large).await;
            if reads.response().await.status == 200 {
                break;
            }
        }
    })
    .await;
}

/// A pod of so many containers that the answer has hundreds of kilobytes.
fn large_answer() -> Vec<u8> {
    let mut review: Value = serde_json::from_slice(&recorded("minimal")).unwrap();
    let containers = (0..600).map(|number| json!({"name": format!("c{number}"), "image": "i"}));
    review["request"]["object"]["spec"]["containers"] = containers.collect();
    serde_json::to_vec(&review).unwrap()
}

/// A client hello of these TLS versions and cipher suites, and what it is answered with: the alert's number.
async fn alert_for(server: &Server, version: [u8; 2], suites: &[u16]) -> u8 {
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let curves_and_signatures = [0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3];
    let mut hello = vec![version[0], version[1]];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend((suites.len() as u16).to_be_bytes());
    hello.extend(&suites);
    hello.extend([1, 0]);
    hello.extend((curves_and_signatures.len() as u16).to_be_bytes());
    hello.extend(curves_and_signatures);
    let mut record = vec![22, 3, 1];
    record.extend((hello.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0]);
    record.extend((hello.len() as u16).to_be_bytes());
    record.extend(&hello);
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(&record).await.unwrap();
    let mut answer = Vec::new();
    within("the end of the handshake", tcp.read_to_end(&mut answer)).await.ok();
    assert_eq!((answer[0], answer.len()), (21, 7), "one alert and the end: {answer:?}");
    answer[6]
}

#[tokio::test]
async fn old_versions_and_weak_ciphers_are_refused() {
    const PROTOCOL_VERSION: u8 = 70;
    const HANDSHAKE_FAILURE: u8 = 40;
    const ECDHE_ECDSA_AES_128_GCM: u16 = 0xc02b;
    let server = Server::start(Options::default()).await;
    for version in [[3, 0], [3, 1], [3, 2]] {
        assert_eq!(
            alert_for(&server, version, &[ECDHE_ECDSA_AES_128_GCM]).await,
            PROTOCOL_VERSION,
            "{version:?}"
        );
    }
    for (name, suite) in [
        ("RSA key exchange", 0x009c),
        ("CBC with SHA-1", 0xc009),
        ("3DES", 0x000a),
        ("RC4", 0x0005),
        ("no encryption", 0x0002),
        ("anonymous", 0x0034),
        ("export", 0x0003),
        ("finite-field Diffie-Hellman", 0x009e),
    ] {
        assert_eq!(alert_for(&server, [3, 3], &[suite]).await, HANDSHAKE_FAILURE, "{name}");
    }
    assert_eq!(server.client().await.mutate(&recorded("minimal")).await.status, 200);
}

/// Names and annotations of tenants can't add lines to the log. Values of variables are neither in the log nor in the
/// metrics.
#[tokio::test]
async fn names_can_not_forge_log_lines_and_the_log_has_no_secrets() {
    const FORGED: &str = "x\n2026-01-01T00:00:00Z ERROR forged\r\u{1b}[31mred\u{9b}31m\u{2028}\0";
    const SECRET: &str = "hunter2-is-no-good-secret";
    let mut review: Value = serde_json::from_slice(&recorded("minimal")).unwrap();
    review["request"]["uid"] = FORGED.into();
    review["request"]["namespace"] = FORGED.into();
    let object = &mut review["request"]["object"];
    object["metadata"]["name"] = FORGED.into();
    object["metadata"]["annotations"] = json!({"eks.amazonaws.com/region": FORGED});
    object["spec"]["containers"][0]["env"] = json!([{"name": "PASSWORD", "value": SECRET}]);
    let manifest = json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "api", "namespace": FORGED, "annotations": {ROLE_ANNOTATION: FORGED}},
    });
    for format in ["text", "json"] {
        let (ca, dir) = (Ca::new(), tempfile::tempdir().unwrap());
        ca.server(1).write(dir.path());
        std::fs::write(dir.path().join("account.json"), manifest.to_string()).unwrap();
        let mut command = tokio::process::Command::from(daemon::command(&[
            "--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
            "--log-level=debug",
            "--service-accounts=account.json",
            "--tls-cert-file=tls.crt",
            "--tls-key-file=tls.key",
        ]));
        command.arg(format!("--log-format={format}")).current_dir(dir.path());
        let mut daemon = command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
        let mut log = Vec::new();
        while !log.last().is_some_and(|line: &String| line.contains("listening")) {
            log.push(within("the start", lines.next_line()).await.unwrap().expect("it starts"));
        }
        let port_after = |key: &str| {
            let (_, rest) = log.last().unwrap().split_once(key).unwrap();
            let digits = rest.split_once("127.0.0.1:").unwrap().1;
            let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
            SocketAddr::from(([127, 0, 0, 1], digits.parse().unwrap()))
        };
        let (address, admin) = (port_after("listen"), port_after("admin_listen"));

        let mut client = Client::connect(address, &ca.pem()).await;
        let response = client.mutate(&serde_json::to_vec(&review).unwrap()).await;
        assert_eq!(response.json()["response"]["auditAnnotations"]["outcome"], "injected");
        review["request"]["operation"] = "DELETE".into();
        assert_eq!(client.mutate(&serde_json::to_vec(&review).unwrap()).await.status, 200);
        assert_eq!(client.mutate(format!("{{{SECRET}").as_bytes()).await.status, 400);
        review["request"]["operation"] = "CREATE".into();
        let (_, metrics) = plain_get(admin, "/metrics").await;

        while !log.last().is_some_and(|line: &String| line.contains("request refused")) {
            log.push(
                within("the log of the last request", lines.next_line()).await.unwrap().expect("it runs"),
            );
        }
        daemon.start_kill().unwrap();
        while let Some(line) = lines.next_line().await.unwrap() {
            log.push(line);
        }
        assert_eq!(log.iter().filter(|line| line.contains("forged")).count(), 2, "{log:#?}");
        assert!(
            log.iter().all(|line| line.starts_with(if format == "json" { "{" } else { "20" })),
            "{log:#?}"
        );
        for line in &log {
            assert!(!line.contains(|c: char| c.is_ascii_control()), "{line:?}");
            if format == "json" {
                serde_json::from_str::<Value>(line).unwrap();
            } else {
                // A terminal may act on those beyond ASCII as well.
                assert!(!line.contains(char::is_control), "{line:?}");
                assert!(["INFO", "DEBUG"].contains(&line.split_whitespace().nth(1).unwrap()), "{line:?}");
            }
        }
        assert!(!log.join("").contains(SECRET) && !metrics.contains(SECRET));
        assert!(!metrics.contains("forged"));
    }
}
