//! How long a peer may take to send a request, and how long it may send none.
//!
//! hyper has one timer for both, and kube-apiserver needs them apart: it keeps idle connections for 90 s and does not
//! resend a POST that meets a closed one, while a header that trickles in should be cut off within seconds. So hyper's
//! timer is off. The connection notes what its peer does, and a watchdog beside it looks at the clock, whether or not
//! hyper happens to be reading or writing.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a request's header, from its first byte.
    pub header: Duration,
    /// Between requests, the reading of the last response included. kube-apiserver keeps idle connections for 90 s;
    /// closing one before it does loses a request.
    pub idle: Duration,
}

/// What a connection is doing. Shared by its reads, its service and its watchdog, which all run in one task.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    had_request: bool,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer's, to send a request or to read the last response.
    Idle,
    /// The peer's, to go on with the header it has begun.
    Header,
    /// Ours.
    Request,
}

/// How a peer has taken too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overstay {
    /// Without a request.
    Idle,
    /// Within a header.
    Header,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { phase: Phase::Idle, since: Instant::now(), had_request: false })))
    }

    /// A request's header is complete.
    pub(super) fn begin_request(&self) {
        let mut state = self.state();
        state.phase = Phase::Request;
        state.had_request = true;
    }

    /// Its response is on the way.
    pub(super) fn end_request(&self) {
        let mut state = self.state();
        state.phase = Phase::Idle;
        state.since = Instant::now();
    }

    /// Whether a request can be expected any moment: the connection was opened for one, or its header has begun (and
    /// did not come together with the last request).
    pub(super) fn expects_request(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Header || !state.had_request
    }

    /// Waits until the peer has taken too long.
    pub(super) async fn overstayed(&self, timeouts: Timeouts) -> Overstay {
        loop {
            let now = Instant::now();
            // A header may begin while this sleeps, so it never sleeps for longer than a header may take.
            let mut wake = now + timeouts.header;
            if let Some((deadline, overstay)) = self.deadline(timeouts) {
                if deadline <= now {
                    return overstay;
                }
                wake = wake.min(deadline);
            }
            sleep_until(wake).await;
        }
    }

    fn deadline(&self, timeouts: Timeouts) -> Option<(Instant, Overstay)> {
        let state = self.state();
        match state.phase {
            Phase::Idle => Some((state.since + timeouts.idle, Overstay::Idle)),
            Phase::Header => Some((state.since + timeouts.header, Overstay::Header)),
            Phase::Request => None,
        }
    }

    fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            state.phase = Phase::Header;
            state.since = Instant::now();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that notes when its peer sends.
pub(super) struct NotedReads<IO> {
    io: IO,
    activity: Activity,
}

impl<IO> NotedReads<IO> {
    pub(super) fn new(io: IO, activity: Activity) -> Self {
        Self { io, activity }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for NotedReads<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.io).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.received();
        }
        result
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for NotedReads<IO> {
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
