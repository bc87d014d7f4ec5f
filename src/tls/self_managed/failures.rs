//! Failures of the certificate controller: counted, logged and followed by growing pauses.

use std::{fmt::Display, time::Duration};

use tracing::{info, warn};

use crate::{
    kube::{
        backoff,
        object::{CallError, Failing},
    },
    metrics::{SelfManagedMetrics, SelfManagedOperation},
};

/// The longest pause after a failed call.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause between repairs of the Secret.
pub(super) const MAX_PAUSE_OF_REPAIRS: Duration = Duration::from_secs(30);

/// Consecutive failures.
#[derive(Debug)]
pub(super) struct Failures(backoff::Failures);

impl Failures {
    pub(super) fn new(longest_pause: Duration) -> Self {
        Self(backoff::Failures::new(longest_pause))
    }

    /// Logs a failure and returns how long to pause.
    pub(super) fn next(&mut self, operation: SelfManagedOperation, error: &dyn Display) -> Duration {
        let (logged, pause) = self.0.another();
        if let Some(failures) = logged {
            warn!(
                %error,
                operation = operation.as_str(),
                failures,
                "can't keep the certificate; what is served stays as it is"
            );
        }
        pause
    }

    /// Logs that the failures have ended, if there were any.
    pub(super) fn over(&mut self) {
        if let Some(failures) = self.0.over() {
            info!(failures, "keeping the certificate again");
        }
    }
}

/// Consecutive failures of the watch of one object.
#[derive(Debug)]
pub(super) struct WatchFailures {
    operation: SelfManagedOperation,
    metrics: SelfManagedMetrics,
    failures: Failures,
}

impl WatchFailures {
    pub(super) fn new(operation: SelfManagedOperation, metrics: SelfManagedMetrics) -> Self {
        Self { operation, metrics, failures: Failures::new(MAX_PAUSE) }
    }
}

impl Failing for WatchFailures {
    fn failed(&mut self, error: &CallError) -> Duration {
        self.metrics.failed(self.operation);
        self.failures.next(self.operation, error)
    }

    fn over(&mut self) {
        self.failures.over();
    }

    fn absent(&mut self) {
        self.metrics.failed(self.operation);
    }
}
