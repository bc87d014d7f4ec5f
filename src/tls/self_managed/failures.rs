//! How long to pause after a failure, and how often to speak of it.

use std::{fmt::Display, time::Duration};

use tracing::{info, warn};

use crate::{
    kube::{
        backoff,
        object::{CallError, Failing},
    },
    metrics::{SelfManagedMetrics, SelfManagedOperation},
};

/// The longest pause: what is repaired meanwhile must not find us asleep for long.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Failures in a row.
#[derive(Debug)]
pub(super) struct Failures(backoff::Failures);

impl Default for Failures {
    fn default() -> Self {
        Self(backoff::Failures::new(MAX_PAUSE))
    }
}

impl Failures {
    /// Logs a failure and tells how long to pause.
    pub(super) fn next(&mut self, operation: SelfManagedOperation, error: &dyn Display) -> Duration {
        let (told, pause) = self.0.another();
        if let Some(failures) = told {
            warn!(
                %error,
                operation = operation.as_str(),
                failures,
                "can't keep the certificate; what is served stays as it is"
            );
        }
        pause
    }

    /// It worked.
    pub(super) fn over(&mut self) {
        if let Some(failures) = self.0.over() {
            info!(failures, "keeping the certificate again");
        }
    }
}

/// Failures in a row of the watch of one object.
#[derive(Debug)]
pub(super) struct WatchFailures {
    operation: SelfManagedOperation,
    metrics: SelfManagedMetrics,
    failures: Failures,
}

impl WatchFailures {
    pub(super) fn new(operation: SelfManagedOperation, metrics: SelfManagedMetrics) -> Self {
        Self { operation, metrics, failures: Failures::default() }
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
