//! How long to pause between tries that fail.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(200);

/// Pauses that double, with jitter, up to a longest one.
#[derive(Debug)]
pub struct Backoff {
    pauses: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
    /// Begins with the shortest.
    pub fn new(longest: Duration) -> Self {
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST).with_max_delay(longest);
        Self { pauses: pauses.without_max_times().with_jitter().build(), longest }
    }

    /// The next pause.
    pub fn pause(&mut self) -> Duration {
        // Jitter comes on top of the builder's own limit.
        self.pauses.next().unwrap_or(self.longest).min(self.longest)
    }
}

/// Whether the failure with this number is told of: an outage is at its beginning, and then ever more rarely.
pub fn is_told(failures_in_a_row: u32) -> bool {
    failures_in_a_row.is_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_at_the_longest() {
        let longest = Duration::from_secs(2);
        let mut backoff = Backoff::new(longest);
        assert!((FIRST..2 * FIRST + FIRST).contains(&backoff.pause()));
        let later: Vec<_> = (0..100).map(|_| backoff.pause()).collect();
        assert!(later[10..].iter().all(|pause| *pause == longest), "{later:?}");
    }
}
