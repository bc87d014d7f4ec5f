//! How long to pause after a failure, and how often to speak of it.

use std::{fmt::Display, time::Duration};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tracing::{info, warn};

use crate::metrics::SelfManagedOperation;

/// The longest pause: what is repaired meanwhile must not find us asleep for long.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Failures {
    in_a_row: u32,
    pauses: Option<ExponentialBackoff>,
}

impl Failures {
    /// Logs a failure and tells how long to pause. An outage is logged at its beginning and then ever more rarely.
    pub(super) fn next(&mut self, operation: SelfManagedOperation, error: &dyn Display) -> Duration {
        self.in_a_row += 1;
        if self.in_a_row.is_power_of_two() {
            warn!(
                %error,
                operation = operation.as_str(),
                failures = self.in_a_row,
                "can't keep the certificate; what is served stays as it is"
            );
        }
        let pauses = self.pauses.get_or_insert_with(|| {
            let pauses = ExponentialBuilder::default().with_min_delay(Duration::from_millis(200));
            pauses.with_max_delay(MAX_PAUSE).without_max_times().with_jitter().build()
        });
        // Jitter comes on top of the builder's own limit.
        pauses.next().unwrap_or(MAX_PAUSE).min(MAX_PAUSE)
    }

    /// It worked.
    pub(super) fn over(&mut self) {
        if self.in_a_row > 0 {
            info!(failures = self.in_a_row, "keeping the certificate again");
        }
        *self = Self::default();
    }
}
