//! The activity of each connection, and its timeouts.
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

/// How many bytes of HTTP/2 a peer may send beyond its requests: settings, pings, resets and the frames around bodies.
/// Bodies that are under way count as well until they are read.
const MAX_OVERHEAD: usize = 1 << 20;

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

/// How requests share a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// One after the other.
    Http1,
    /// At the same time, as streams.
    Http2,
}

/// The activity of a connection. Its listener, its reads and writes, its requests and its watchdog share it.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    evicted: Notify,
    response_taken: Notify,
}

#[derive(Debug)]
struct State {
    protocol: Protocol,
    has_been_used: bool,
    /// When it was opened, or its last request ended.
    idle_since: Instant,
    /// When the header began that is not complete.
    header_since: Option<Instant>,
    /// Those that have not ended, in places that are used again.
    requests: Vec<Option<(Phase, Instant)>>,
    /// The places that are free.
    free: Vec<usize>,
    /// The places of requests whose response was taken.
    taken: Vec<usize>,
    /// Bytes of HTTP/2 that belong to no completed request.
    overhead: usize,
}

/// How far a request has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The peer is to complete its body.
    Body,
    /// We are to answer it.
    Answer,
    /// The peer is to take the response.
    Response,
    /// The last byte of the response was taken, and is to be flushed.
    Taken,
}

/// A request from the end of its header until its response is written, or it is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Activity,
    place: usize,
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
            protocol: Protocol::Http1,
            has_been_used: false,
            idle_since: Instant::now(),
            header_since: None,
            requests: Vec::new(),
            free: Vec::new(),
            taken: Vec::new(),
            overhead: 0,
        };
        let state = Mutex::new(state);
        Self(Arc::new(Shared { state, evicted: Notify::new(), response_taken: Notify::new() }))
    }

    /// The handshake is over.
    pub(super) fn speaks(&self, protocol: Protocol) {
        self.state().protocol = protocol;
    }

    /// How requests share it.
    pub(super) fn protocol(&self) -> Protocol {
        self.state().protocol
    }

    /// The peer has sent bytes. Returns whether it has sent too many that belong to no request.
    pub(super) fn received(&self, bytes: usize) -> bool {
        let mut state = self.state();
        match state.protocol {
            Protocol::Http1 => {
                if state.is_idle() {
                    state.header_since.get_or_insert_with(Instant::now);
                }
                false
            }
            Protocol::Http2 => {
                state.overhead += bytes;
                state.overhead > MAX_OVERHEAD
            }
        }
    }

    /// A request's header is complete. In HTTP/1.1 this waits until the last response is taken: a peer that sends one
    /// request after the other and reads no response holds one of each.
    pub(super) async fn begin_request(&self) -> Exchange {
        while self.state().has_untaken_response() {
            self.0.response_taken.notified().await;
        }
        let mut state = self.state();
        state.header_since = None;
        state.has_been_used = true;
        let request = Some((Phase::Body, Instant::now()));
        let place = state.free.pop().unwrap_or_else(|| {
            state.requests.push(None);
            state.requests.len() - 1
        });
        state.requests[place] = request;
        Exchange { activity: self.clone(), place }
    }

    /// All that was taken has been sent.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        while let Some(place) = state.taken.pop() {
            state.end(place);
        }
    }

    /// Whether a request can be expected any moment: the connection was opened for one, or its header has begun.
    pub(super) fn expects_request(&self) -> bool {
        let state = self.state();
        state.protocol == Protocol::Http1 && (state.header_since.is_some() || !state.has_been_used)
    }

    /// Waits until the peer has taken too long.
    pub(super) async fn timed_out(&self, timeouts: Timeouts) -> TimedOut {
        loop {
            let now = Instant::now();
            // A header or a response may begin while this sleeps, so it never sleeps for longer than they may take.
            let mut wake = now + timeouts.header.min(timeouts.write);
            if let Some((deadline, timed_out)) = self.state().deadline(timeouts) {
                if deadline <= now {
                    return timed_out;
                }
                wake = wake.min(deadline);
            }
            sleep_until(wake).await;
        }
    }

    /// Whether the peer keeps us waiting, and nothing that it asked for waits for us.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let state = self.state();
        let mut since = state.header_since.unwrap_or(state.idle_since);
        for (phase, begun) in state.requests.iter().flatten() {
            if *phase == Phase::Answer {
                return None;
            }
            since = since.max(*begun);
        }
        Some(Waiting { has_been_used: state.has_been_used, since })
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

impl Exchange {
    /// So many bytes of its body were read.
    pub(super) fn read(&self, bytes: usize) {
        let mut state = self.activity.state();
        state.overhead = state.overhead.saturating_sub(bytes);
    }

    /// The request is complete, or refused.
    pub(super) fn begin_answer(&self) {
        self.enter(Phase::Answer);
    }

    /// The response is handed over to be written. When this is dropped from then on, the response was taken.
    pub(super) fn begin_response(&self) {
        self.enter(Phase::Response);
        self.activity.state().overhead = 0;
    }

    /// How it came.
    pub(super) fn protocol(&self) -> Protocol {
        self.activity.protocol()
    }

    fn enter(&self, phase: Phase) {
        self.activity.state().requests[self.place] = Some((phase, Instant::now()));
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        match state.requests[self.place] {
            Some((Phase::Response, since)) => {
                state.requests[self.place] = Some((Phase::Taken, since));
                state.taken.push(self.place);
                self.activity.0.response_taken.notify_one();
            }
            _ => state.end(self.place),
        }
    }
}

impl State {
    fn is_idle(&self) -> bool {
        self.free.len() == self.requests.len()
    }

    fn has_untaken_response(&self) -> bool {
        self.protocol == Protocol::Http1
            && self.requests.iter().flatten().any(|(phase, _)| *phase == Phase::Response)
    }

    fn end(&mut self, place: usize) {
        self.requests[place] = None;
        self.free.push(place);
        if self.is_idle() {
            self.idle_since = Instant::now();
        }
    }

    fn deadline(&self, timeouts: Timeouts) -> Option<(Instant, TimedOut)> {
        if let Some(since) = self.header_since {
            return Some((since + timeouts.header, TimedOut::Header));
        }
        if self.is_idle() {
            return Some((self.idle_since + timeouts.idle, TimedOut::Idle));
        }
        // The reader of a body has its own timeout, since it answers when that is over.
        let untaken = |(phase, since): &(Phase, Instant)| {
            matches!(phase, Phase::Response | Phase::Taken).then_some(*since)
        };
        let since = self.requests.iter().flatten().filter_map(untaken).min()?;
        Some((since + timeouts.write, TimedOut::Response))
    }
}
