//! HTTP/2: the answers and the limits of HTTP/1.1, and attacks on what HTTP/2 has beyond it.

use std::{net::SocketAddr, task::Poll, time::Duration};

use eks_pod_identity_webhook::lifecycle::Phase;
use h2::client::SendRequest;
use hyper::{Method, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinHandle,
};

use crate::support::{
    ROLE, ROLE_ANNOTATION, account, admit, all_recorded,
    client::{Client, Handshake, Response},
    eventually, minimal_of, recorded, recorded_account,
    server::{Options, Server},
    within,
};

fn options() -> Options {
    Options { http2: true, ..Options::default() }
}

/// A connection as Go's client makes it.
struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
}

type Bytes = bytes::Bytes;

/// Shakes hands.
async fn open(address: SocketAddr, ca: &str) -> std::io::Result<Client> {
    Client::try_connect(address, ca, Handshake { http2: true, ..Handshake::default() }).await
}

impl Connection {
    async fn open(address: SocketAddr, ca: &str) -> Self {
        Self::with(h2::client::Builder::new(), address, ca).await
    }

    async fn with(builder: h2::client::Builder, address: SocketAddr, ca: &str) -> Self {
        let client = open(address, ca).await.unwrap();
        assert_eq!(client.stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (requests, connection) = builder.handshake(client.stream).await.unwrap();
        Self { requests, driver: tokio::spawn(connection) }
    }

    /// Sends a request; its answer is awaited apart from it.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: &[u8],
    ) -> Result<h2::client::ResponseFuture, h2::Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("content-type", "application/json")
            .header("content-length", body.len())
            .body(())
            .unwrap();
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut stream) = requests.send_request(request, body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(Bytes::copy_from_slice(body), true)?;
        }
        Ok(response)
    }

    async fn post(&self, body: &[u8]) -> Result<Response, h2::Error> {
        let response = self.send(Method::POST, "/mutate?timeout=10s", body).await?;
        read(response).await
    }
}

async fn read(response: h2::client::ResponseFuture) -> Result<Response, h2::Error> {
    let (head, mut stream) = response.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap().to_owned();
    let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value)));
    Ok(Response { status: head.status.as_u16(), headers: headers.collect(), body })
}

async fn connect(server: &Server) -> Connection {
    Connection::open(server.address, &server.ca.pem()).await
}

async fn assert_serves(server: &Server) {
    let response = within("an answer", async { connect(server).await.post(&recorded("minimal")).await });
    assert_eq!(response.await.unwrap().status, 200);
}

#[tokio::test]
async fn every_request_is_answered_as_by_http1_all_at_once() {
    let server = Server::start(options()).await;
    let connection = connect(&server).await;
    let mut sent = Vec::new();
    for name in all_recorded() {
        sent.push((name.clone(), connection.send(Method::POST, "/mutate", &recorded(&name)).await.unwrap()));
    }
    let requests = sent.len() as f64;
    for (name, response) in sent {
        let response = read(response).await.unwrap();
        let expected = admit(recorded(&name), recorded_account).unwrap().unwrap().body;
        assert_eq!((response.status, response.body), (200, expected), "{name}");
        assert_eq!(response.headers.iter().find(|(name, _)| name == "connection"), None);
    }
    for (method, path, status) in
        [(Method::GET, "/mutate", 405), (Method::GET, "/", 404), (Method::GET, "/healthz", 200)]
    {
        assert_eq!(read(connection.send(method, path, b"").await.unwrap()).await.unwrap().status, status);
    }
    assert_eq!(server.metric(r#"http_requests_total{protocol="http2"}"#), requests + 3.0);
    assert_eq!(server.metric(r#"http_requests_total{protocol="http1"}"#), 0.0);
    assert_eq!(server.metric("connections_total"), 1.0);
}

#[tokio::test]
async fn bodies_have_the_limits_of_http1() {
    let mut options = options();
    options.requests.body_time = Duration::from_millis(200);
    options.requests.memory = 600 << 10;
    let server = Server::start(options).await;
    let connection = connect(&server).await;
    let mut large = recorded("minimal");
    large.resize((1 << 20) + 1, b' ');
    assert_eq!(connection.post(&large).await.unwrap().status, 413);
    large.truncate(900 << 10);
    let refused = connection.post(&large).await.unwrap();
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    assert_eq!(connection.post(b"{}").await.unwrap().status, 400);
    // A body without an end.
    let request = Request::post("https://localhost/mutate").header("content-type", "application/json");
    let (response, _stream) =
        connection.requests.clone().send_request(request.body(()).unwrap(), false).unwrap();
    assert_eq!(read(response).await.unwrap().status, 408);
    assert_eq!(connection.post(&recorded("minimal")).await.unwrap().status, 200, "the same connection");
}

#[tokio::test]
async fn heads_have_the_limits_of_http1() {
    let server = Server::start(options()).await;
    let connection = connect(&server).await;
    let request =
        Request::get("https://localhost/healthz").header("x", "y".repeat(20 << 10)).body(()).unwrap();
    let (response, _) = connection.requests.clone().send_request(request, true).unwrap();
    assert_eq!(read(response).await.unwrap().status, 431);
    assert_eq!(connection.post(&recorded("minimal")).await.unwrap().status, 200);
}

#[tokio::test]
async fn streams_are_bounded_for_all_connections_together() {
    let mut options = Options { http2: true, ..Options::patient() };
    options.requests.streams = 8;
    let mut server = Server::start(options).await;
    let connections = [connect(&server).await, connect(&server).await];
    let (mut waiting, mut refused) = (Vec::new(), 0);
    for number in 0..12 {
        let body = minimal_of("late");
        let connection = &connections[number % 2];
        waiting.push(connection.send(Method::POST, "/mutate?timeout=7200s", &body).await.unwrap());
    }
    let no_memory = r#"admissions_total{operation="unknown",outcome="unavailable",reason="no_memory"}"#;
    eventually("four are refused", || server.metric(no_memory) == 4.0).await;
    server.writer.applied("payments", "late", account(&[(ROLE_ANNOTATION, ROLE)]));
    for response in waiting {
        refused += usize::from(within("an answer", read(response)).await.unwrap().status == 503);
    }
    assert_eq!(refused, 4);
    assert_eq!(connections[0].post(&recorded("minimal")).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_peer_that_gives_no_window_is_cut_off_and_its_memory_given_back() {
    let mut options = options();
    options.timeouts.write = Duration::from_millis(200);
    options.requests.streams = 10;
    let server = Server::start(options).await;
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(0);
    let connection = Connection::with(builder, server.address, &server.ca.pem()).await;
    let mut deaf = Vec::new();
    for _ in 0..10 {
        deaf.push(connection.send(Method::POST, "/mutate", &recorded("minimal")).await.unwrap());
    }
    let ended = within("the end of the connection", connection.driver).await.unwrap();
    assert!(ended.is_err() || deaf.len() == 10);
    let slow_read = r#"connections_closed_total{reason="slow_read"}"#;
    eventually("it is counted", || server.metric(slow_read) == 1.0).await;
    assert_serves(&server).await;
}

#[tokio::test]
async fn an_idle_connection_makes_room_by_goaway() {
    let server = Server::start(Options { max_connections: 1, ..options() }).await;
    let first = connect(&server).await;
    assert_eq!(first.post(&recorded("minimal")).await.unwrap().status, 200);
    assert_serves(&server).await;
    within("the end of the first", first.driver).await.unwrap().unwrap();
    let evicted = r#"connections_closed_total{reason="evicted"}"#;
    eventually("it is counted", || server.metric(evicted) == 1.0).await;
}

#[tokio::test]
async fn an_idle_connection_ends_at_the_idle_timeout_though_it_pings() {
    let mut options = options();
    options.timeouts.idle = Duration::from_millis(300);
    // A peer that does not acknowledge the end is not waited for.
    options.timeouts.header = Duration::from_millis(100);
    let server = Server::start(options).await;
    let mut raw = Raw::open(&server).await;
    while raw.send(&frame(PING, 0, 0, &[7; 8])).await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let idle = r#"connections_closed_total{reason="idle"}"#;
    eventually("it is counted", || server.metric(idle) == 1.0).await;
}

/// As kube-apiserver: a connection is used until it goes away, and what it did not take is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_under_load_loses_no_request() {
    let Server { address, ca, announcer, serving, metrics, .. } = Server::start(options()).await;
    let callers = (0..8).map(|_| {
        let ca = ca.pem();
        tokio::spawn(async move {
            let mut answered = 0;
            loop {
                let Ok(client) = open(address, &ca).await else { return answered };
                let Ok((requests, connection)) = h2::client::handshake(client.stream).await else {
                    return answered;
                };
                let connection = Connection { requests, driver: tokio::spawn(connection) };
                loop {
                    match connection.post(&recorded("deployment-web")).await {
                        Ok(response) => assert_eq!(response.status, 200),
                        Err(error) if error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR) => {
                            break;
                        }
                        Err(error) if error.reason() == Some(h2::Reason::REFUSED_STREAM) => break,
                        Err(error) => panic!("a request is lost: {error}"),
                    }
                    answered += 1;
                }
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    eventually("they are answered", || metrics.admissions.duration.get_sample_count() > 300).await;
    announcer.announce(Phase::Draining);
    let before = metrics.admissions.duration.get_sample_count();
    eventually("they go on", || metrics.admissions.duration.get_sample_count() > before + 300).await;
    announcer.announce(Phase::Closing);
    within("the end", serving).await.unwrap();
    let mut sum = 0;
    for caller in callers {
        sum += within("the end of a caller", caller).await.unwrap();
    }
    assert_eq!(sum, metrics.admissions.duration.get_sample_count());
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// `GET https://localhost/healthz`, by HPACK's static table.
fn get() -> Vec<u8> {
    let literal = |index: u8, value: &str| [&[index, value.len() as u8], value.as_bytes()].concat();
    [vec![0x82, 0x87], literal(0x04, "/healthz"), literal(0x01, "localhost")].concat()
}

/// A peer that writes any bytes.
struct Raw(Client);

impl Raw {
    async fn open(server: &Server) -> Self {
        let mut raw = Self(open(server.address, &server.ca.pem()).await.unwrap());
        assert!(
            raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await
                && raw.send(&frame(SETTINGS, 0, 0, &[])).await
        );
        raw
    }

    /// Whether the connection still takes it. What comes back is read and thrown away.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        let mut chunk = [0; 16 << 10];
        while let Poll::Ready(read) = futures::poll!(std::pin::pin!(self.0.stream.read(&mut chunk))) {
            if matches!(read, Ok(0) | Err(_)) {
                return false;
            }
        }
        self.0.stream.write_all(bytes).await.is_ok() && self.0.stream.flush().await.is_ok()
    }
}

/// Sends one attack after the other, each until the connection is ended; others are served all the while.
#[tokio::test]
async fn floods_end_their_connection_and_nothing_else() {
    let server = Server::start(options()).await;
    let neighbour = connect(&server).await;
    let request = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &get());
    type Attack<'a> = (&'a str, Box<dyn Fn(u32) -> Vec<u8> + 'a>);
    let attacks: [Attack<'_>; 7] = [
        (
            "rapid reset",
            Box::new(|n| {
                [request(2 * n + 1), frame(RST_STREAM, 0, 2 * n + 1, &8_u32.to_be_bytes())].concat()
            }),
        ),
        (
            "continuations without end",
            Box::new(|n| match n {
                0 => frame(HEADERS, 0, 1, &get()),
                _ => frame(CONTINUATION, 0, 1, &[0, 1, b'x', 1, b'y'].repeat(100)),
            }),
        ),
        (
            "empty continuations",
            Box::new(|n| match n {
                0 => frame(HEADERS, 0, 1, &get()),
                _ => frame(CONTINUATION, 0, 1, &[]).repeat(50),
            }),
        ),
        ("pings", Box::new(|_| frame(PING, 0, 0, &[7; 8]).repeat(50))),
        ("settings", Box::new(|_| frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]).repeat(50))),
        ("window updates", Box::new(|_| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(50))),
        ("unknown frames", Box::new(|_| frame(77, 0, 0, &[0; 1000]))),
    ];
    for (name, bytes) in attacks {
        let mut raw = Raw::open(&server).await;
        let attack = async {
            let mut number = 0;
            while raw.send(&bytes(number)).await {
                number += 1;
            }
            number
        };
        let sent = within(name, attack).await;
        println!("{name}: ended after {sent}");
        assert_eq!(neighbour.post(&recorded("minimal")).await.unwrap().status, 200, "{name}");
    }
    drop(neighbour);
    eventually("all have ended", || server.metric("connections_open") == 0.0).await;
}
