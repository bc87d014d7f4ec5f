//! The life of the process: readiness and graceful shutdown.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

/// How often conditions are looked at by those who wait for them.
const CONDITIONS_INTERVAL: Duration = Duration::from_millis(20);

/// How far the process has got. Phases only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything is served.
    Serving,
    /// Not ready any more, but everything is still served, with `Connection: close`, while the cluster stops sending.
    Draining,
    /// No new connections; idle ones are closed and requests in flight are finished.
    Closing,
}

/// Why the process is not ready, as far as one part of it knows (the certificate, the role mapping); `None` while that
/// part is ready.
pub type NotReadyReason = watch::Receiver<Option<&'static str>>;

/// Announces phases.
#[derive(Debug)]
pub struct Announcer(watch::Sender<Phase>);

/// Follows phases.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Phase>);

/// A process that serves.
pub fn channel() -> (Announcer, Drain) {
    let (sender, receiver) = watch::channel(Phase::Serving);
    (Announcer(sender), Drain(receiver))
}

impl Announcer {
    /// Advances to `phase`.
    pub fn announce(&self, phase: Phase) {
        self.0.send_replace(phase);
    }
}

impl Drain {
    /// Whether the end has begun.
    pub fn has_begun(&self) -> bool {
        *self.0.borrow() > Phase::Serving
    }

    /// Waits until the end has begun; also ends when the announcer is gone.
    pub async fn beginning(&mut self) {
        self.0.wait_for(|phase| *phase > Phase::Serving).await.ok();
    }

    /// Waits until connections are to be closed; also ends when the announcer is gone.
    pub async fn closing(&mut self) {
        self.0.wait_for(|phase| *phase >= Phase::Closing).await.ok();
    }
}

/// Whether requests should be sent here.
pub struct Readiness {
    drain: Drain,
    is_listening: AtomicBool,
    conditions: Vec<Condition>,
}

/// A part of the process that has to be ready: says why it is not.
type Condition = Box<dyn Fn() -> Option<&'static str> + Send + Sync>;

impl Readiness {
    /// Not ready yet: not listening.
    pub fn new(drain: Drain) -> Self {
        Self { drain, is_listening: AtomicBool::new(false), conditions: Vec::new() }
    }

    /// Ready only while these parts are.
    pub fn with(self, reasons: impl IntoIterator<Item = NotReadyReason>) -> Self {
        reasons.into_iter().fold(self, |readiness, reason| readiness.with_condition(move || *reason.borrow()))
    }

    /// Ready only while `condition` gives no reason against it.
    pub fn with_condition(
        mut self,
        condition: impl Fn() -> Option<&'static str> + Send + Sync + 'static,
    ) -> Self {
        self.conditions.push(Box::new(condition));
        self
    }

    /// The webhook's port accepts connections.
    pub fn listening(&self) {
        self.is_listening.store(true, Ordering::Release);
    }

    /// Whether the process is shutting down.
    pub fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Why requests should not be sent here; `None` if they should.
    pub fn not_ready_reason(&self) -> Option<&'static str> {
        if self.is_draining() {
            return Some("shutting down");
        }
        if !self.is_listening.load(Ordering::Acquire) {
            return Some("the webhook's port is not open yet");
        }
        self.conditions.iter().find_map(|condition| condition())
    }

    /// Waits until no condition is in the way.
    pub async fn conditions_met(&self) {
        while self.conditions.iter().any(|condition| condition().is_some()) {
            sleep(CONDITIONS_INTERVAL).await;
        }
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness")
            .field("not_ready_reason", &self.not_ready_reason())
            .finish_non_exhaustive()
    }
}
