//! How long a peer may take to send a request, and how long it may send none.
//!
//! hyper has one timer for both, and kube-apiserver needs them apart: it keeps idle connections for 90 s and does not
//! resend a POST that meets a closed one, while a header that trickles in should be cut off within seconds. So hyper's
//! timer is off, and this wrapper around the connection keeps time.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// What a connection is doing; shared with the service, which knows when requests begin and end.
#[derive(Clone, Debug, Default)]
pub(super) struct Activity(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    in_request: AtomicBool,
    had_request: AtomicBool,
}

impl Activity {
    /// A request's header is complete.
    pub(super) fn begin_request(&self) {
        self.0.in_request.store(true, Ordering::Relaxed);
        self.0.had_request.store(true, Ordering::Relaxed);
    }

    /// Its response is on the way.
    pub(super) fn end_request(&self) {
        self.0.in_request.store(false, Ordering::Relaxed);
    }

    /// Whether there has ever been a request.
    pub(super) fn had_request(&self) -> bool {
        self.0.had_request.load(Ordering::Relaxed)
    }

    fn in_request(&self) -> bool {
        self.0.in_request.load(Ordering::Relaxed)
    }
}

/// A connection that ends when its peer is idle for too long or sends a header too slowly.
pub(super) struct TimedConnection<IO> {
    io: IO,
    activity: Activity,
    idle: Duration,
    header: Duration,
    waiting: Waiting,
    timer: Pin<Box<Sleep>>,
}

/// What the peer is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nothing, or nothing that is timed here.
    Untimed,
    /// The first byte of a request.
    ForRequest,
    /// The rest of a header whose first byte came then.
    ForHeader { since: Instant, timed: bool },
}

impl<IO> TimedConnection<IO> {
    pub(super) fn new(io: IO, activity: Activity, idle: Duration, header: Duration) -> Self {
        let timer = Box::pin(sleep_until(Instant::now()));
        Self { io, activity, idle, header, waiting: Waiting::Untimed, timer }
    }

    fn received(&mut self) {
        if self.activity.in_request() {
            self.waiting = Waiting::Untimed;
        } else if !matches!(self.waiting, Waiting::ForHeader { .. }) {
            // The timer is set only if more has to be waited for: most headers come whole.
            self.waiting = Waiting::ForHeader { since: Instant::now(), timed: false };
        }
    }

    /// Looks at the clock when nothing could be read. An idle connection ends as if its peer had closed it.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.in_request() {
            self.waiting = Waiting::Untimed;
            return Poll::Pending;
        }
        match self.waiting {
            Waiting::Untimed => {
                self.waiting = Waiting::ForRequest;
                self.timer.as_mut().reset(Instant::now() + self.idle);
            }
            Waiting::ForHeader { since, timed: false } => {
                self.waiting = Waiting::ForHeader { since, timed: true };
                self.timer.as_mut().reset(since + self.header);
            }
            Waiting::ForRequest | Waiting::ForHeader { .. } => {}
        }
        ready!(self.timer.as_mut().poll(cx));
        Poll::Ready(match self.waiting {
            Waiting::ForHeader { .. } => Err(io::Error::new(io::ErrorKind::TimedOut, "header too slow")),
            Waiting::ForRequest | Waiting::Untimed => Ok(()),
        })
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for TimedConnection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if result.is_pending() {
            return self.poll_timer(cx);
        }
        self.received();
        result
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for TimedConnection<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const IDLE: Duration = Duration::from_secs(180);
    const HEADER: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn an_idle_peer_may_be_silent_for_long_and_then_meets_a_clean_end() {
        let (_client, server) = duplex(64);
        let start = Instant::now();
        let mut connection = TimedConnection::new(server, Activity::default(), IDLE, HEADER);
        assert_eq!(connection.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(start.elapsed().as_secs(), 180);
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_trickles_in_is_cut_off() {
        let (mut client, server) = duplex(64);
        let start = Instant::now();
        let mut connection = TimedConnection::new(server, Activity::default(), IDLE, HEADER);
        let trickle = async {
            for _ in 0..100 {
                client.write_all(b"x").await.unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        let read = async {
            loop {
                if let Err(error) = connection.read(&mut [0; 8]).await {
                    return error;
                }
            }
        };
        tokio::select! {
            () = trickle => panic!("never cut off"),
            error = read => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        }
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn time_does_not_run_while_a_request_is_served() {
        let (mut client, server) = duplex(64);
        let activity = Activity::default();
        let mut connection = TimedConnection::new(server, activity.clone(), IDLE, HEADER);
        client.write_all(b"head").await.unwrap();
        connection.read_exact(&mut [0; 4]).await.unwrap();
        activity.begin_request();
        let mut buf = [0; 1];
        let body = connection.read_exact(&mut buf);
        let late = async {
            tokio::time::sleep(IDLE * 2).await;
            client.write_all(b"b").await.unwrap();
        };
        tokio::join!(late, async { body.await.unwrap() });

        activity.end_request();
        let start = Instant::now();
        assert_eq!(connection.read(&mut [0; 8]).await.unwrap(), 0);
        assert_eq!(start.elapsed().as_secs(), 180);
    }
}
