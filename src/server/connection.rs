//! One connection, from its first byte to its end.

use std::{convert::Infallible, pin::Pin, time::Duration};

use futures::FutureExt;
use hyper::{
    Request, Response,
    body::Incoming,
    server::conn::{http1, http2},
    service::{Service, service_fn},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tracing::debug;

use super::{
    activity::{Activity, Exchange, Protocol, TimedOut, Timeouts},
    closed::Closed,
    reply::{Reply, ReplyBody},
    tracked_io::TrackedIo,
};
use crate::lifecycle::Drain;

/// The most bytes that a request's head may have; beyond that it is answered with 431. kube-apiserver's has a few hundred,
/// and every connection may hold as many.
const MAX_HEAD_BYTES: usize = 16 << 10;

/// How many requests one connection of HTTP/2 may have under way, as in Go's servers. kube-apiserver has 200 at most by
/// default (`--max-mutating-requests-inflight`). For each one beyond the limit Go's client opens a connection, and keeps
/// one of these.
const MAX_STREAMS: u32 = 250;

/// How many bytes of bodies one stream, and one connection of HTTP/2, may send ahead of being read.
const STREAM_WINDOW: u32 = 64 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// How many streams that the peer reset may wait to be forgotten, before the connection is ended as a flood.
const MAX_RESET_STREAMS: usize = 20;

/// How long a connection may take, at the end, to send the request that it was opened for or has begun.
const LAST_REQUEST: Duration = Duration::from_secs(1);

/// How long an evicted connection of HTTP/2 may take to end cleanly, while another one waits for its place.
const EVICTION: Duration = Duration::from_millis(100);

/// Answers requests.
pub(super) trait Handler: Clone + Send + 'static {
    /// Answers one request, and reports its progress to `exchange`.
    fn handle(&self, request: Request<Incoming>, exchange: &Exchange) -> impl Future<Output = Reply> + Send;
}

/// Serves requests until the connection ends. Returns why it ended.
pub(super) async fn serve<IO>(
    io: IO,
    protocol: Protocol,
    handler: impl Handler,
    activity: Activity,
    timeouts: Timeouts,
    drain: Drain,
) -> Closed
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    activity.speaks(protocol);
    let io = TokioIo::new(TrackedIo::new(io, activity.clone()));
    let service = answering(handler, activity.clone(), drain.clone());
    match protocol {
        Protocol::Http1 => {
            let mut builder = http1::Builder::new();
            builder.header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES);
            watch(Box::pin(builder.serve_connection(io, service)).as_mut(), &activity, timeouts, drain).await
        }
        Protocol::Http2 => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .max_concurrent_streams(MAX_STREAMS)
                .max_header_list_size(MAX_HEAD_BYTES as u32)
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_pending_accept_reset_streams(MAX_RESET_STREAMS)
                .max_local_error_reset_streams(MAX_RESET_STREAMS);
            watch(Box::pin(builder.serve_connection(io, service)).as_mut(), &activity, timeouts, drain).await
        }
    }
}

/// The service of a connection.
fn answering(
    handler: impl Handler,
    activity: Activity,
    drain: Drain,
) -> impl Service<
    Request<Incoming>,
    Response = Response<ReplyBody>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<ReplyBody>, Infallible>> + Send + 'static,
> {
    service_fn(move |request| {
        let (handler, activity, drain) = (handler.clone(), activity.clone(), drain.clone());
        // In a box, since a stream of HTTP/2 is moved several times before it is served.
        Box::pin(async move {
            let exchange = activity.begin_request().await;
            let mut reply = handler.handle(request, &exchange).await;
            // An HTTP/2 connection is closed by one GOAWAY.
            if exchange.protocol() == Protocol::Http1 && drain.has_begun() {
                reply.close();
            }
            Ok(reply.into_response(exchange))
        })
    })
}

/// A connection that can end after the requests that it has.
trait Connection: Future<Output = hyper::Result<()>> {
    /// Takes no further requests.
    fn graceful_shutdown(self: Pin<&mut Self>);
}

impl<IO, S> Connection for http1::Connection<IO, S>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<Incoming, ResBody = ReplyBody, Error = Infallible>,
    IO: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http1::Connection::graceful_shutdown(self);
    }
}

impl<IO, S> Connection for http2::Connection<IO, S, TokioExecutor>
where
    Self: Future<Output = hyper::Result<()>>,
    S: hyper::service::HttpService<Incoming, ResBody = ReplyBody, Error = Infallible>,
    S::Future: Send + 'static,
    IO: hyper::rt::Read + hyper::rt::Write + Unpin,
{
    fn graceful_shutdown(self: Pin<&mut Self>) {
        http2::Connection::graceful_shutdown(self);
    }
}

/// How a connection ends.
enum Event {
    Ended(hyper::Result<()>),
    TimedOut(TimedOut),
    Evicted,
    Draining,
    Closing,
}

/// Runs a connection to its end.
async fn watch(
    mut connection: Pin<&mut impl Connection>,
    activity: &Activity,
    timeouts: Timeouts,
    drain: Drain,
) -> Closed {
    let (mut draining, mut closing) = (drain.clone(), drain);
    // A response of HTTP/1.1 says that the connection ends. A connection of HTTP/2 that was opened before the drain is
    // ended by GOAWAY, and its peer opens another one, here or at another replica.
    let mut goes_away = activity.protocol() == Protocol::Http2 && !draining.has_begun();
    loop {
        let event = tokio::select! {
            // A request that has arrived is taken before anything else is looked at.
            biased;
            result = connection.as_mut() => Event::Ended(result),
            timed_out = activity.timed_out(timeouts) => Event::TimedOut(timed_out),
            () = activity.evicted() => Event::Evicted,
            () = draining.beginning(), if goes_away => Event::Draining,
            () = closing.closing() => Event::Closing,
        };
        if matches!(event, Event::Draining) {
            goes_away = false;
            connection.as_mut().graceful_shutdown();
        } else {
            return end(connection, event, activity, timeouts).await;
        }
    }
}

/// Ends a connection because of this event.
async fn end(
    mut connection: Pin<&mut impl Connection>,
    event: Event,
    activity: &Activity,
    timeouts: Timeouts,
) -> Closed {
    let closed = match event {
        Event::Ended(Ok(())) => Closed::Finished,
        Event::Ended(Err(error)) => {
            debug!(%error, "connection broken");
            Closed::Broken
        }
        Event::TimedOut(TimedOut::Idle) => {
            connection.as_mut().graceful_shutdown();
            timeout(timeouts.header, connection).await.ok();
            Closed::Idle
        }
        Event::TimedOut(TimedOut::Header) => Closed::SlowHeader,
        Event::TimedOut(TimedOut::Response) => Closed::SlowRead,
        Event::Evicted => {
            connection.as_mut().graceful_shutdown();
            match activity.protocol() {
                // An idle connection ends when it is polled. A peer that keeps back a part of its request, or does not read,
                // is not waited for: it would hold up everybody who connects.
                Protocol::Http1 => drop(connection.now_or_never()),
                // GOAWAY is acknowledged.
                Protocol::Http2 => drop(timeout(EVICTION, connection).await),
            }
            Closed::Evicted
        }
        Event::Draining | Event::Closing => {
            close(connection, activity, timeouts).await;
            Closed::Drained
        }
    };
    debug!(?closed, "connection ended");
    closed
}

/// Ends a connection once its peer has had the responses to its last requests, or has taken too long.
async fn close(mut connection: Pin<&mut impl Connection>, activity: &Activity, timeouts: Timeouts) {
    // The answer to a request from now on ends the connection, so this waits for one at most.
    if activity.expects_request() {
        let ended = timeout(LAST_REQUEST, connection.as_mut()).await;
        if ended.is_ok() || activity.expects_request() {
            return;
        }
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = connection => {}
        _ = activity.timed_out(Timeouts { idle: timeouts.header, ..timeouts }) => {}
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
        write: Duration::from_secs(5),
        idle: Duration::from_secs(180),
    };

    /// Reads the body, waits, and answers with a body of some length.
    #[derive(Clone)]
    struct Waiting {
        wait: Duration,
        answer: usize,
    }

    impl Handler for Waiting {
        async fn handle(&self, request: Request<Incoming>, exchange: &Exchange) -> Reply {
            request.into_body().collect().await.ok();
            exchange.begin_answer();
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
        let handler = Waiting { wait, answer };
        let activity = Activity::new();
        let serving = tokio::spawn(serve(server, Protocol::Http1, handler, activity, TIMEOUTS, drain));
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
    async fn an_idle_connection_ends_cleanly_at_the_idle_timeout() {
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
    async fn a_peer_that_does_not_read_its_response_is_cut_off() {
        let (mut client, serving, _announcer) = start(Duration::ZERO, 100_000);
        sleep(Duration::from_secs(1)).await;
        client.write_all(GET).await.unwrap();
        let begun = Instant::now();
        assert_eq!(serving.await.unwrap(), Closed::SlowRead);
        assert!((5..=10).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn responses_that_are_not_read_are_not_piled_up() {
        let (mut client, serving, _announcer) = start(Duration::ZERO, 3000);
        let begun = Instant::now();
        let send = async {
            let mut sent = 0;
            while client.write_all(GET).await.is_ok() {
                sent += 1;
            }
            sent
        };
        let (sent, closed) = tokio::join!(send, serving);
        assert_eq!(closed.unwrap(), Closed::SlowRead);
        assert!((5..=10).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
        assert!(sent * GET.len() < 40 << 10, "{sent} requests were taken");
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
        // An incomplete header does not delay the end.
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

    #[tokio::test(start_paused = true)]
    async fn an_evicted_connection_ends_at_once() {
        for sent in [b"", GET, &GET[..5], &POST[..POST.len() - 1], &[GET, &GET[..5]].concat()] {
            let (mut client, server) = duplex(1024);
            let (_announcer, drain) = lifecycle::channel();
            let (activity, handler) = (Activity::new(), Waiting { wait: Duration::ZERO, answer: 1 });
            let serving = serve(server, Protocol::Http1, handler, activity.clone(), TIMEOUTS, drain);
            let serving = tokio::spawn(serving);
            client.write_all(sent).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            let begun = Instant::now();
            activity.evict();
            assert_eq!(serving.await.unwrap(), Closed::Evicted);
            assert_eq!(begun.elapsed(), Duration::ZERO, "{sent:?}");
            let is_answered = sent.starts_with(GET);
            assert_eq!(read_to_end(&mut client).await.ends_with("x\n"), is_answered);
        }
    }
}
