//! Hostile input: each gets the right status, and other clients are still served.

use std::time::Duration;

use serde_json::Value;

use crate::support::{
    client::{Client, request},
    recorded,
    server::{Options, Server},
};

const HEAD: &str = "POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";

/// `minimal` with something put where its pod's metadata begin.
fn minimal_with(field: &str) -> Vec<u8> {
    let body = String::from_utf8(recorded("minimal")).unwrap();
    let (before, after) = body.split_once(r#""metadata":{"#).unwrap();
    format!(r#"{before}"metadata":{{{field},{after}"#).into_bytes()
}

async fn status_of(server: &Server, body: &[u8]) -> u16 {
    server.client().await.mutate(body).await.status
}

async fn assert_serves(client: &mut Client, after: &str) {
    assert_eq!(client.mutate(&recorded("minimal")).await.status, 200, "after {after}");
}

#[tokio::test]
async fn bodies_that_are_almost_json_are_refused_or_answered() {
    let server = Server::start(Options::default()).await;
    let mut neighbour = server.client().await;
    let nested = |depth: usize| minimal_with(&format!(r#""x":{}{}"#, "[".repeat(depth), "]".repeat(depth)));
    let raw = |before: &[u8], field: &[u8]| {
        let text = minimal_with(r#""x":"HERE""#);
        let position = text.windows(4).position(|window| window == b"HERE").unwrap();
        [before, &text[..position], field, &text[position + 4..]].concat()
    };
    for (name, body, status) in [
        ("a hundred thousand arrays", "[".repeat(100_000).into_bytes(), 400),
        ("a hundred thousand objects", r#"{"a":"#.repeat(100_000).into_bytes(), 400),
        ("a review with 2,000 arrays in it", nested(2_000), 400),
        ("a review with 500 arrays in it", nested(500), 200),
        ("a number of 300 digits", minimal_with(&format!(r#""x":{}"#, "9".repeat(300))), 200),
        ("a number of 100,000 digits", minimal_with(&format!(r#""x":{}"#, "9".repeat(100_000))), 400),
        ("a number with a huge exponent", minimal_with(r#""x":1e999999999999"#), 400),
        ("a number with a tiny exponent", minimal_with(r#""x":-1e-999999999999"#), 200),
        ("a number that is none", minimal_with(r#""x":-"#), 400),
        ("a literal that is none", minimal_with(r#""x":nul"#), 400),
        ("a key without quotes", minimal_with("x:1"), 400),
        ("invalid UTF-8", raw(b"", &[0xff, 0xfe]), 400),
        ("overlong UTF-8", raw(b"", &[0xc0, 0xaf]), 400),
        ("UTF-8 cut off", raw(b"", &[0xe2, 0x82]), 400),
        ("a surrogate in UTF-8", raw(b"", &[0xed, 0xa0, 0x80]), 400),
        ("half of an escaped surrogate pair", raw(b"", br"\ud800"), 400),
        ("a line feed in a string", raw(b"", b"\n"), 400),
        ("a NUL in a string", raw(b"", &[0]), 400),
        ("an escaped NUL", raw(b"", br"\u0000"), 200),
        ("UTF-16", recorded("minimal").iter().flat_map(|&byte| [byte, 0]).collect(), 400),
        ("a byte order mark", raw(b"\xef\xbb\xbf", b""), 400),
        ("two reviews", [recorded("minimal"), recorded("minimal")].concat(), 400),
        ("a NUL behind the review", [recorded("minimal"), vec![0]].concat(), 400),
    ] {
        assert_eq!(status_of(&server, &body).await, status, "{name}");
        assert_serves(&mut neighbour, name).await;
    }
}

#[tokio::test]
async fn the_last_of_duplicate_keys_counts() {
    let server = Server::start(Options::default()).await;
    let body = String::from_utf8(recorded("minimal")).unwrap();
    let account = |name: &str| format!(r#""serviceAccountName":"{name}""#);
    for (first, last, outcome) in [("plain", "api", "injected"), ("api", "plain", "skipped")] {
        let twice = format!("{},{}", account(first), account(last));
        let mut client = server.client().await;
        let response = client.mutate(body.replace(&account("api"), &twice).as_bytes()).await;
        assert_eq!(response.json()["response"]["auditAnnotations"]["outcome"], outcome);
    }
}

#[tokio::test]
async fn bodies_of_8_mib_are_answered_and_one_byte_more_is_not() {
    const LIMIT: usize = 8 << 20;
    let mut options = Options::default();
    options.requests.body_bytes = LIMIT;
    options.requests.memory = 64 << 20;
    let server = Server::start(options).await;
    let mut neighbour = server.client().await;
    let empty = minimal_with(r#""x":"""#).len();
    let of_size = |bytes: usize| minimal_with(&format!(r#""x":"{}""#, "é".repeat((bytes - empty) / 2)));
    let padded = |bytes: usize| {
        let mut body = of_size(bytes);
        body.resize(bytes, b' ');
        body
    };
    let (largest, larger) = (padded(LIMIT), padded(LIMIT + 1));
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        let largest = largest.clone();
        clients.push(tokio::spawn(async move { client.mutate(&largest).await }));
    }
    assert_serves(&mut neighbour, "the beginning of large bodies").await;
    for client in clients {
        let response = client.await.unwrap();
        assert_eq!(response.status, 200);
        let answer: Value = response.json();
        assert_eq!(answer["response"]["auditAnnotations"]["outcome"], "injected");
    }
    assert_eq!(status_of(&server, &larger).await, 413);
    // As many values as fit, the parser's worst case, would take it 168 MB; a quarter of them is within its memory.
    let dense = |values: usize| minimal_with(&format!(r#""x":[{}0]"#, "0,".repeat(values)));
    assert_eq!(status_of(&server, &dense(LIMIT / 2 - 2_000)).await, 503);
    assert_eq!(status_of(&server, &dense(LIMIT / 8)).await, 200);
    assert_serves(&mut neighbour, "dense bodies").await;
}

#[tokio::test]
async fn compressed_bodies_are_refused_unread() {
    let server = Server::start(Options::default()).await;
    let mut neighbour = server.client().await;
    // What a bomb looks like from here: nothing in this program would unpack it.
    let bomb = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &[0; 4096]].concat();
    for encoding in ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "identity, gzip", "\u{ff}"] {
        let mut client = server.client().await;
        let head = format!("{HEAD}Content-Encoding: {encoding}\r\nContent-Length: {}\r\n\r\n", bomb.len());
        client.send(&[head.as_bytes(), &bomb].concat()).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (415, Some("close")), "{encoding}");
        assert_serves(&mut neighbour, encoding).await;
    }
    // Twice: the second counts as much as the first.
    for second in ["Content-Encoding: identity\r\nContent-Encoding: gzip", "Content-Type: application/gzip"] {
        let mut client = server.client().await;
        client.send(format!("{HEAD}{second}\r\nContent-Length: 1\r\n\r\n{{").as_bytes()).await;
        assert_eq!(client.response().await.status, 415, "{second}");
    }
    // Without an encoding, or as the transfer's.
    assert_eq!(status_of(&server, &bomb).await, 400);
    for coding in ["gzip, chunked", "gzip\r\nTransfer-Encoding: chunked"] {
        let mut client = server.client().await;
        client.send(format!("{HEAD}Transfer-Encoding: {coding}\r\n\r\n").as_bytes()).await;
        client.send(&[format!("{:x}\r\n", bomb.len()).as_bytes(), &bomb, b"\r\n0\r\n\r\n"].concat()).await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("connection")), (415, Some("close")), "{coding}");
    }
}

/// What makes two servers see different requests in the same bytes. Here there is one request or none: what is smuggled
/// behind it is never answered.
#[tokio::test]
async fn requests_of_disputed_length_are_refused_or_end_the_connection() {
    const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let server = Server::start(Options::default()).await;
    let mut neighbour = server.client().await;
    let chunked = "0\r\n\r\n";
    for (name, head, body, status) in [
        (
            "length and chunks",
            format!("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
            "",
            400,
        ),
        (
            "chunks and length",
            format!("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n{chunked}"),
            "",
            400,
        ),
        ("two lengths", "Content-Length: 2\r\nContent-Length: 3\r\n\r\n".into(), "{}", 400),
        ("a list of lengths", "Content-Length: 2, 2\r\n\r\n".into(), "{}", 400),
        ("a signed length", "Content-Length: +2\r\n\r\n".into(), "{}", 400),
        ("a length in hexadecimal", "Content-Length: 0x2\r\n\r\n".into(), "{}", 400),
        ("an endless length", format!("Content-Length: {}\r\n\r\n", "9".repeat(30)), "{}", 400),
        (
            "chunks that are not the last coding",
            "Transfer-Encoding: chunked, identity\r\n\r\n".into(),
            chunked,
            400,
        ),
        ("an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n".into(), chunked, 400),
        ("a folded header", "Transfer-Encoding:\r\n chunked\r\n\r\n".into(), chunked, 400),
        ("a folded header of no meaning", "X: a\r\n b\r\nContent-Length: 2\r\n\r\n".into(), "{}", 400),
        ("a space before the colon", "Content-Length : 2\r\n\r\n".into(), "{}", 400),
        ("a NUL in a header", "X: \0\r\nContent-Length: 2\r\n\r\n".into(), "{}", 400),
        ("a bare CR in a header", "X: a\rContent-Length: 2\r\n\r\n".into(), "{}", 400),
        (
            "a chunk of disputed size",
            "Transfer-Encoding: chunked\r\n\r\n".into(),
            "2 \r\n{}\r\n0x0\r\n\r\n",
            400,
        ),
        (
            "a chunk of overflowing size",
            "Transfer-Encoding: chunked\r\n\r\n".into(),
            "ffffffffffffffff1\r\n{}",
            400,
        ),
        ("a negative chunk", "Transfer-Encoding: chunked\r\n\r\n".into(), "-1\r\n{}", 400),
        (
            "a chunk longer than its size",
            "Transfer-Encoding: chunked\r\n\r\n".into(),
            "1\r\n{}\r\n0\r\n\r\n",
            400,
        ),
    ] {
        let mut client = server.client().await;
        client.send(format!("{HEAD}{head}{body}{SMUGGLED}").as_bytes()).await;
        let response = client.response().await;
        assert_eq!(response.status, status, "{name}: {response:?}");
        assert!(client.is_closed().await, "{name}: what is behind it is not looked at");
        assert_serves(&mut neighbour, name).await;
    }
}

/// What RFC 9112 lets a server take, and this one takes as every other.
#[tokio::test]
async fn unusual_requests_of_certain_length_are_answered() {
    let server = Server::start(Options::default()).await;
    let minimal = String::from_utf8(recorded("minimal")).unwrap();
    let length = minimal.len();
    let with = |head: &str, body: &str| format!("{HEAD}{head}\r\n\r\n{body}");
    for (name, request) in [
        (
            "the same length twice",
            with(&format!("Content-Length: {length}\r\nContent-Length: {length}"), &minimal),
        ),
        ("bare line feeds", with(&format!("Content-Length: {length}"), "").replace("\r\n", "\n") + &minimal),
        (
            "chunk extensions and trailers",
            with(
                "Transfer-Encoding: chunked",
                &format!("{length:x};a=\"b;c\"\r\n{minimal}\r\n0;d\r\nX: y\r\n\r\n"),
            ),
        ),
        (
            "a target in absolute form",
            with(&format!("Content-Length: {length}"), &minimal).replacen("/mutate", "https://x/mutate", 1),
        ),
        ("an empty line before it", format!("\r\n{}", with(&format!("Content-Length: {length}"), &minimal))),
        (
            "HTTP/1.0",
            with(&format!("Content-Length: {length}"), &minimal).replacen("HTTP/1.1", "HTTP/1.0", 1),
        ),
    ] {
        let mut client = server.client().await;
        client.send(request.as_bytes()).await;
        let response = client.response().await;
        assert_eq!(response.status, 200, "{name}: {response:?}");
        if name != "HTTP/1.0" {
            assert_serves(&mut client, name).await;
        }
    }
}

#[tokio::test]
async fn chunk_extensions_and_trailers_without_end_are_refused() {
    let server = Server::start(Options::default()).await;
    for (name, body) in [
        ("extensions", format!("2;{}\r\n{{}}\r\n0\r\n\r\n", "x".repeat(100_000))),
        ("trailers", format!("2\r\n{{}}\r\n0\r\n{}\r\n", "X: y\r\n".repeat(20_000))),
    ] {
        let mut client = server.client().await;
        client.send(format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, body.as_bytes()).await.ok();
        let response = client.try_response().await;
        assert!(response.as_ref().is_none_or(|response| response.status == 400), "{name}: {response:?}");
        assert_serves(&mut server.client().await, name).await;
    }
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let server = Server::start(Options::default()).await;
    let mut neighbour = server.client().await;
    let minimal = recorded("minimal");
    let with = |headers: &str| {
        let text = String::from_utf8(request("POST", "/mutate", &minimal)).unwrap();
        text.replacen("Host:", &format!("{headers}Host:"), 1).into_bytes()
    };
    for (name, headers, status) in [
        ("90 headers", "X: y\r\n".repeat(90), 200),
        ("200 headers", "X: y\r\n".repeat(200), 431),
        ("a header of 8 KiB", format!("X: {}\r\n", "y".repeat(8 << 10)), 200),
        ("a header of 20 KiB", format!("X: {}\r\n", "y".repeat(20 << 10)), 431),
        ("a header's name of 20 KiB", format!("{}: y\r\n", "x".repeat(20 << 10)), 431),
        ("headers of 20 KiB together", format!("X: {}\r\n", "y".repeat(1 << 10)).repeat(20), 431),
    ] {
        let mut client = server.client().await;
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &with(&headers)).await.ok();
        assert_eq!(client.response().await.status, status, "{name}");
        assert_serves(&mut neighbour, name).await;
    }
    for (target, status) in [(4 << 10, 404), (20 << 10, 431)] {
        let mut client = server.client().await;
        client.send(&request("GET", &format!("/{}", "x".repeat(target)), b"")).await;
        assert_eq!(client.response().await.status, status, "a target of {target} bytes");
    }
}

/// A head of 16 KiB is all that a connection may make this program keep.
#[tokio::test]
async fn a_header_without_end_is_cut_off_by_its_size() {
    let mut options = Options::default();
    options.timeouts.header = Duration::from_secs(3600);
    let server = Server::start(options).await;
    let mut client = server.client().await;
    client.send(b"POST /mutate HTTP/1.1\r\nX: ").await;
    let mut sent = 0;
    while sent < 1 << 20
        && tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[b'y'; 1024]).await.is_ok()
    {
        sent += 1024;
    }
    let response = client.try_response().await;
    assert!(response.as_ref().is_none_or(|response| response.status == 431), "{response:?}");
}
