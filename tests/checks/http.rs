//! A connection's bytes, as they come from anybody who can reach the port.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use eks_pod_identity_webhook::{
    accounts::cache::Cache,
    admission::Webhook,
    injection::account::Account,
    lifecycle,
    metrics::Metrics,
    server::{
        Protocol, Timeouts,
        mutate::{Mutate, RequestLimits},
    },
};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

const LIMITS: RequestLimits = RequestLimits {
    body_bytes: 1 << 16,
    body_time: Duration::from_secs(10),
    lookup_grace: Duration::from_secs(1),
    waits: 2,
    memory: 1 << 20,
    streams: 50,
    threads: 1,
};

const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(10),
    header: Duration::from_secs(10),
    write: Duration::from_secs(5),
    idle: Duration::from_secs(180),
};

static MUTATE: LazyLock<Mutate> = LazyLock::new(|| {
    let metrics = Metrics::new();
    let (cache, mut writer) = Cache::new(metrics.accounts.clone());
    writer.begin_list();
    writer.listed("payments", "plain", Account::Nothing);
    writer.end_list();
    Mutate::new(Webhook::new(Arc::default()), cache, LIMITS, metrics, None)
});

/// With any bytes in, the connection ends, and only responses come out. The last one may be cut off: who closes
/// before its request is whole may not read all of the answer.
pub(crate) fn http(input: &[u8]) {
    let output = exchange(Protocol::Http1, input);
    // The answer to HEAD has a length and no body.
    if !input.windows(5).any(|window| window == b"HEAD ") {
        assert_responses(&output);
    }
}

/// With any frames after the preface, the connection ends, and only frames come out.
pub(crate) fn http2(input: &[u8]) {
    let output = exchange(Protocol::Http2, &[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", input].concat());
    let mut output = &output[..];
    while let Some((head, rest)) = output.split_first_chunk::<9>() {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        assert!(length <= 16 << 10 && head[3] <= 9, "{head:?}");
        let Some(rest) = rest.get(length..) else { return };
        output = rest;
    }
}

/// What comes out of a connection when these bytes go in.
fn exchange(protocol: Protocol, input: &[u8]) -> Vec<u8> {
    // Time stands still while anything can be done, and then jumps to the next timeout.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        // A small pipe makes the server read and write in pieces.
        let (client, server) = duplex(if input.len().is_multiple_of(2) { 64 } else { 1 << 16 });
        let (_announcer, drain) = lifecycle::channel();
        let serving = MUTATE.clone().serve_connection(server, protocol, TIMEOUTS, drain);
        let (mut reads, mut writes) = split(client);
        let write = async {
            writes.write_all(input).await.ok();
            writes.shutdown().await.ok();
        };
        let read = async {
            let mut output = Vec::new();
            reads.read_to_end(&mut output).await.ok();
            output
        };
        let all = async { tokio::join!(serving, write, read).2 };
        tokio::time::timeout(Duration::from_secs(3600), all).await.expect("the connection ends")
    })
}

fn assert_responses(mut output: &[u8]) {
    while !output.is_empty() {
        assert!(output.starts_with(b"HTTP/1.") || output.len() < 7, "{:?}", String::from_utf8_lossy(output));
        let Some(head) = output.windows(4).position(|window| window == b"\r\n\r\n") else { return };
        let text = std::str::from_utf8(&output[..head]).unwrap();
        let status: u16 = text[9..12].parse().unwrap();
        assert!([100, 200, 400, 404, 405, 408, 413, 414, 415, 431, 503].contains(&status), "{text}");
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let length = field("content-length: ").map_or(0, |length| length.parse().unwrap());
        let Some(body) = output[head + 4..].get(..length) else { return };
        if field("content-type: ") == Some("application/json") {
            let answer: Value = serde_json::from_slice(body).unwrap();
            assert_eq!(answer["response"]["allowed"], true);
        }
        output = &output[head + 4 + length..];
    }
}
