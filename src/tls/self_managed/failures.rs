//! Failures of the certificate controller: counted, logged and followed by growing pauses.

use std::{fmt::Display, time::Duration};

use crate::{
    kube::{
        backoff::{Backoff, Failure},
        call::CallError,
        object::Failing,
    },
    metrics::{SelfManagedMetrics, SelfManagedOperation},
};

/// The longest pause after a failed call.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause between repairs of the Secret.
pub(super) const MAX_PAUSE_OF_REPAIRS: Duration = Duration::from_secs(30);

/// Consecutive failures.
#[derive(Debug)]
pub(super) struct Failures(Backoff);

impl Failures {
    pub(super) fn new(longest_pause: Duration, metrics: &SelfManagedMetrics) -> Self {
        Self(Backoff::new("keep the certificate", longest_pause, metrics.retries.clone()))
    }

    /// Logs a failure and returns how long to pause.
    pub(super) fn next(&mut self, operation: SelfManagedOperation, error: &dyn Display) -> Duration {
        let effect = "the served certificate stays as it is";
        self.0.failed(&Failure { operation: operation.as_str(), error, effect, remedy: None })
    }

    /// Logs that the failures have ended, if there were any.
    pub(super) fn over(&mut self) {
        self.0.succeeded();
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
        let failures = Failures::new(MAX_PAUSE, &metrics);
        Self { operation, metrics, failures }
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
