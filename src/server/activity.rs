//! What each connection is doing, and for how long.
//!
//! hyper has one timer for headers and for idle connections, and kube-apiserver needs them apart: it keeps idle
//! connections for 90 s and does not resend a POST that meets a closed one, while a header that trickles in should be
//! cut off within seconds. So hyper's timer is off. The connection notes what its peer does, a watchdog beside it
//! looks at the clock, and a full listener sees who has been idle longest.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How long a peer may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a TLS handshake.
    pub handshake: Duration,
    /// For a request's header, from its first byte.
    pub header: Duration,
    /// To read a response.
    pub write: Duration,
    /// Between requests. kube-apiserver keeps idle connections for 90 s; closing one before it does loses a request.
    pub idle: Duration,
}

/// What a connection is doing. Its listener, its reads and writes, its service and its watchdog share it.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    evicted: Notify,
    body_taken: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    has_been_used: bool,
    /// Whether the body of the response is still to be written.
    has_unwritten_body: bool,
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer's, to shake hands or to send its first request. Bytes make no difference, so a trickle gains nothing.
    Opened,
    /// The peer's, to send the next request.
    Idle,
    /// The peer's, to complete the header.
    Header,
    /// The peer's, to complete the body.
    Body,
    /// Ours.
    Answer,
    /// The peer's, to read the response.
    Response,
}

/// Which limit a peer has exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimedOut {
    /// Idle for too long.
    Idle,
    /// A header that is not completed.
    Header,
    /// A response that is not read.
    Response,
}

/// A connection whose peer keeps us waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    /// Whether it ever had a request.
    pub(super) has_been_used: bool,
    /// Since when.
    pub(super) since: Instant,
}

impl Activity {
    /// A connection that was just accepted.
    pub(super) fn new() -> Self {
        let state = State {
            phase: Phase::Opened,
            since: Instant::now(),
            has_been_used: false,
            has_unwritten_body: false,
        };
        let state = Mutex::new(state);
        Self(Arc::new(Shared { state, evicted: Notify::new(), body_taken: Notify::new() }))
    }

    /// The peer has sent bytes.
    pub(super) fn received(&self) {
        let mut state = self.state();
        if state.phase == Phase::Idle {
            state.enter(Phase::Header);
        }
    }

    /// The handshake is over.
    pub(super) fn handshake_done(&self) {
        let mut state = self.state();
        // Its age still counts from when it was accepted where connections are evicted.
        state.phase = Phase::Idle;
    }

    /// A request's header is complete. Waits until the last response is taken: whoever sends one request after the
    /// other and reads no response holds one of each.
    pub(super) async fn begin_request(&self) {
        while self.state().has_unwritten_body {
            self.0.body_taken.notified().await;
        }
        let mut state = self.state();
        state.enter(Phase::Body);
        state.has_been_used = true;
    }

    /// The request is complete.
    pub(super) fn begin_answer(&self) {
        self.state().enter(Phase::Answer);
    }

    /// The response is handed over to be written.
    pub(super) fn begin_response(&self) {
        let mut state = self.state();
        state.enter(Phase::Response);
        state.has_unwritten_body = true;
    }

    /// The last byte of the response's body was taken.
    pub(super) fn body_taken(&self) {
        self.state().has_unwritten_body = false;
        self.0.body_taken.notify_one();
    }

    /// All that was taken has been sent.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        if state.phase == Phase::Response && !state.has_unwritten_body {
            state.enter(Phase::Idle);
        }
    }

    /// Whether a request can be expected any moment: the connection was opened for one, or its header has begun.
    pub(super) fn expects_request(&self) -> bool {
        let state = self.state();
        state.phase == Phase::Header || !state.has_been_used
    }

    /// Waits until the peer has taken too long.
    pub(super) async fn timed_out(&self, timeouts: Timeouts) -> TimedOut {
        loop {
            let now = Instant::now();
            // A header or a response may begin while this sleeps, so it never sleeps for longer than they may take.
            let mut wake = now + timeouts.header.min(timeouts.write);
            if let Some((deadline, timed_out)) = self.deadline(timeouts) {
                if deadline <= now {
                    return timed_out;
                }
                wake = wake.min(deadline);
            }
            sleep_until(wake).await;
        }
    }

    fn deadline(&self, timeouts: Timeouts) -> Option<(Instant, TimedOut)> {
        let state = self.state();
        let (time, timed_out) = match state.phase {
            Phase::Opened | Phase::Idle => (timeouts.idle, TimedOut::Idle),
            Phase::Header => (timeouts.header, TimedOut::Header),
            Phase::Response => (timeouts.write, TimedOut::Response),
            // The reader of the body has its own timeout, since it answers when that is over.
            Phase::Body | Phase::Answer => return None,
        };
        Some((state.since + time, timed_out))
    }

    /// Whether the peer keeps us waiting.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let state = self.state();
        let State { phase, since, has_been_used, .. } = *state;
        (phase != Phase::Answer).then_some(Waiting { has_been_used, since })
    }

    /// Ends the connection.
    pub(super) fn evict(&self) {
        self.0.evicted.notify_one();
    }

    /// Waits until the connection has to make room for another one. A request that has arrived meanwhile is answered
    /// first.
    pub(super) async fn evicted(&self) {
        loop {
            self.0.evicted.notified().await;
            if self.waiting().is_some() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}
