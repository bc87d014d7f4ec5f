//! The life of the process: why it is not ready, and graceful shutdown.

use tokio::sync::watch;

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

/// Hears of phases.
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

    /// Waits until connections are to be closed; also ends when nobody is left to announce it.
    pub async fn closing(&mut self) {
        self.0.wait_for(|phase| *phase >= Phase::Closing).await.ok();
    }
}
