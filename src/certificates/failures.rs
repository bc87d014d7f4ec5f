//! How long to pause after a failure, and how often to speak of it.

use std::{fmt::Display, time::Duration};

use tracing::{info, warn};

use crate::{
    backoff::{self, Backoff},
    metrics::{SelfManagedMetrics, SelfManagedOperation},
    object::{CallError, Failing},
};

/// The longest pause: what is repaired meanwhile must not find us asleep for long.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Failures in a row.
#[derive(Debug)]
pub(super) struct Failures {
    in_a_row: u32,
    pauses: Backoff,
}

impl Default for Failures {
    fn default() -> Self {
        Self { in_a_row: 0, pauses: Backoff::new(MAX_PAUSE) }
    }
}

impl Failures {
    /// Logs a failure and tells how long to pause.
    pub(super) fn next(&mut self, operation: SelfManagedOperation, error: &dyn Display) -> Duration {
        self.in_a_row += 1;
        if backoff::is_told(self.in_a_row) {
            warn!(
                %error,
                operation = operation.as_str(),
                failures = self.in_a_row,
                "can't keep the certificate; what is served stays as it is"
            );
        }
        self.pauses.pause()
    }

    /// It worked.
    pub(super) fn over(&mut self) {
        if self.in_a_row > 0 {
            info!(failures = self.in_a_row, "keeping the certificate again");
        }
        *self = Self::default();
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
