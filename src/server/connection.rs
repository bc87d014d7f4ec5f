//! One connection, from its first byte to its end.

use std::{
    convert::Infallible,
    error::Error,
    pin::{Pin, pin},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::debug;

use super::{
    reply::Reply,
    timeouts::{Activity, NotedReads, Overstay, Timeouts},
};
use crate::{lifecycle::Drain, metrics::Closed};

/// The most bytes that a request's head may have; beyond that it is answered with 431. kube-apiserver's has a few hundred,
/// and every connection may hold as many.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long a connection may take, at the end, to send the request that it was opened for or has begun.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// What answers requests.
pub(super) trait Handler: Clone + Send + 'static {
    /// Answers one request.
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

/// Serves requests until the peer goes or takes too long, or the drain closes the connection; tells which.
pub(super) async fn serve<IO>(io: IO, handler: impl Handler, timeouts: Timeouts, mut drain: Drain) -> Closed
where
    IO: AsyncRead + AsyncWrite + Unpin,
{
    let activity = Activity::new();
    let io = NotedReads::new(io, activity.clone());
    let (serving, draining) = (activity.clone(), drain.clone());
    let service = service_fn(move |request| {
        serving.begin_request();
        let (handler, serving, draining) = (handler.clone(), serving.clone(), draining.clone());
        async move {
            let mut reply = handler.handle(request).await;
            if draining.has_begun() {
                reply.close();
            }
            serving.end_request();
            Ok::<_, Infallible>(reply.into_response())
        }
    });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    let (ended, closed) = tokio::select! {
        // A request that has arrived is taken before anything else is looked at.
        biased;
        result = connection.as_mut() => (Some(result), Closed::Finished),
        overstay = activity.overstayed(timeouts) => {
            debug!(?overstay, "connection cut off");
            // A clean end for a peer that listens; one that does not even read is left.
            match overstay {
                Overstay::Idle => {
                    connection.as_mut().graceful_shutdown();
                    (timeout(timeouts.header, connection).await.ok(), Closed::Idle)
                }
                Overstay::Header => (None, Closed::SlowHeader),
            }
        }
        () = drain.closing() => (close(connection, &activity, timeouts).await, Closed::Drained),
    };
    match ended {
        Some(Err(error)) => {
            debug!(%error, "connection ended");
            Closed::Broken
        }
        _ => closed,
    }
}

/// Ends a connection once its peer has had what it asked for; `None` if it is left before its end.
async fn close<IO, S>(
    mut connection: Pin<&mut http1::Connection<TokioIo<NotedReads<IO>>, S>>,
    activity: &Activity,
    timeouts: Timeouts,
) -> Option<hyper::Result<()>>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: HttpService<Incoming, ResBody = Full<Bytes>>,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
{
    // The answer to a request from now on ends the connection, so this waits for one at most.
    if activity.expects_request() {
        if let Ok(result) = timeout(LAST_REQUEST, connection.as_mut()).await {
            return Some(result);
        }
        if activity.expects_request() {
            return None;
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        result = connection => Some(result),
        // Who does not read the last response is not waited for like one who thinks about the next request.
        _ = activity.overstayed(Timeouts { idle: timeouts.header, ..timeouts }) => None,
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::StatusCode;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        time::{Instant, sleep},
    };

    use super::*;
    use crate::lifecycle::{self, Phase};

    const TIMEOUTS: Timeouts = Timeouts {
        handshake: Duration::from_secs(10),
        header: Duration::from_secs(10),
        idle: Duration::from_secs(180),
    };

    /// Reads the body, waits, and answers with a body of some length.
    #[derive(Clone)]
    struct Waiting {
        wait: Duration,
        answer: usize,
    }

    impl Handler for Waiting {
        async fn handle(&self, request: Request<Incoming>) -> Reply {
            request.into_body().collect().await.ok();
            sleep(self.wait).await;
            Reply::text(StatusCode::OK, "x".repeat(self.answer))
        }
    }

    fn start(
        wait: Duration,
        answer: usize,
    ) -> (DuplexStream, tokio::task::JoinHandle<Closed>, lifecycle::Announcer) {
        let (client, server) = duplex(1024);
        let (announcer, drain) = lifecycle::channel();
        let serving = tokio::spawn(serve(server, Waiting { wait, answer }, TIMEOUTS, drain));
        (client, serving, announcer)
    }

    async fn read_to_end(client: &mut DuplexStream) -> String {
        let mut read = Vec::new();
        client.read_to_end(&mut read).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_cleanly_at_the_idle_timeout_whatever_was_before() {
        for request in [b"", GET, POST] {
            for (arrives_after, handler_waits) in [(0, 0), (0, 1), (1, 0), (1, 1), (100, 0), (0, 100)] {
                let (mut client, serving, _announcer) = start(Duration::from_secs(handler_waits), 1);
                sleep(Duration::from_secs(arrives_after)).await;
                client.write_all(request).await.unwrap();
                let begun = Instant::now();
                let answered = if request.is_empty() { 0 } else { handler_waits };
                let waited = if request.is_empty() { arrives_after } else { 0 };
                let read = read_to_end(&mut client).await;
                assert_eq!(read.is_empty(), request.is_empty());
                assert_eq!(
                    begun.elapsed().as_secs(),
                    180 + answered - waited,
                    "{arrives_after} {handler_waits}"
                );
                serving.await.unwrap();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_trickles_in_is_cut_off() {
        for before in [b"", GET] {
            let (mut client, serving, _announcer) = start(Duration::ZERO, 1);
            client.write_all(before).await.unwrap();
            sleep(Duration::from_secs(100)).await;
            let begun = Instant::now();
            let trickle = async {
                while client.write_all(b"G").await.is_ok() {
                    sleep(Duration::from_secs(3)).await;
                }
            };
            tokio::join!(trickle, async { serving.await.unwrap() });
            assert!((10..=12).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_left() {
        let (mut client, serving, _announcer) = start(Duration::ZERO, 100_000);
        client.write_all(GET).await.unwrap();
        let begun = Instant::now();
        serving.await.unwrap();
        assert_eq!(begun.elapsed().as_secs(), 190);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_handler_is_waited_for() {
        let (mut client, _serving, _announcer) = start(Duration::from_secs(1000), 1);
        client.write_all(GET).await.unwrap();
        assert!(read_to_end(&mut client).await.ends_with("\r\n\r\nx\n"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_has_been_begun_at_the_end_is_answered() {
        for (before, begun) in [(&b""[..], 0), (b"", 5), (GET, 5)] {
            let (mut client, serving, announcer) = start(Duration::ZERO, 1);
            for sent in [before, &GET[..begun]] {
                client.write_all(sent).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
            announcer.announce(Phase::Draining);
            announcer.announce(Phase::Closing);
            sleep(Duration::from_millis(500)).await;
            client.write_all(&GET[begun..]).await.unwrap();
            let read = read_to_end(&mut client).await;
            assert!(read.contains("connection: close") && read.ends_with("x\n"), "{begun}: {read}");
            serving.await.unwrap();
        }
        // A header that was begun and does not go on holds nobody up.
        let (mut client, serving, announcer) = start(Duration::ZERO, 1);
        client.write_all(&GET[..5]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let closing = Instant::now();
        announcer.announce(Phase::Closing);
        serving.await.unwrap();
        assert_eq!(closing.elapsed(), LAST_REQUEST);
        // Nor does a response that is not read.
        let (mut client, serving, announcer) = start(Duration::ZERO, 100_000);
        client.write_all(GET).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        announcer.announce(Phase::Closing);
        serving.await.unwrap();
        assert!(closing.elapsed() <= LAST_REQUEST * 2 + TIMEOUTS.header);
        // Nothing was begun: closed at once.
        let (mut client, serving, announcer) = start(Duration::ZERO, 1);
        client.write_all(GET).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        let closing = Instant::now();
        announcer.announce(Phase::Closing);
        read_to_end(&mut client).await;
        serving.await.unwrap();
        assert_eq!(closing.elapsed(), Duration::ZERO);
    }
}
