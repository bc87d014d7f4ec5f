//! Limits how often an object is repaired that something else keeps changing.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use super::failures::{Failures, Operation};
use crate::metrics::SelfManagedMetrics;

/// After this long without a repair, the next one is the first again. Longer than every pause.
const CALM: Duration = Duration::from_secs(60);

/// The recent repairs of one object. The first few are made at once; pauses grow between the following ones, which are
/// counted and logged as failures.
pub(super) struct RepairLimiter {
    operation: Operation,
    metrics: SelfManagedMetrics,
    at_once: u32,
    made: u32,
    last: Option<Instant>,
    not_before: Option<Instant>,
    failures: Failures,
}

impl RepairLimiter {
    /// Makes `at_once` repairs without a pause, and pauses no longer than `longest_pause`.
    pub(super) fn new(
        operation: Operation,
        metrics: SelfManagedMetrics,
        at_once: u32,
        longest_pause: Duration,
    ) -> Self {
        let failures = Failures::new(longest_pause, &metrics);
        Self { operation, metrics, at_once, made: 0, last: None, not_before: None, failures }
    }

    /// Permits a repair and counts it, or returns how long to wait. `error` says what is repaired.
    pub(super) fn permit(&mut self, error: &dyn Display, now: Instant) -> Result<(), Duration> {
        self.settle(now);
        if let Some(not_before) = self.not_before.filter(|not_before| now < *not_before) {
            return Err(not_before - now);
        }
        self.made += 1;
        self.last = Some(now);
        if self.made >= self.at_once {
            self.metrics.failed(self.operation);
            self.not_before = Some(now + self.failures.next(self.operation, error));
        }
        Ok(())
    }

    /// The number of recent repairs.
    pub(super) fn made(&self) -> u32 {
        self.made
    }

    /// Starts from the beginning when there was no repair for long; until then, returns the remaining time.
    pub(super) fn settle(&mut self, now: Instant) -> Option<Duration> {
        let remaining = CALM.saturating_sub(now.saturating_duration_since(self.last?));
        if !remaining.is_zero() {
            return Some(remaining);
        }
        (self.made, self.last, self.not_before) = (0, None, None);
        self.failures.over();
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    const LONGEST: Duration = Duration::from_secs(5);

    fn limiter(at_once: u32) -> RepairLimiter {
        let metrics = Metrics::new().tls.self_managed.clone();
        RepairLimiter::new(Operation::Publish, metrics, at_once, LONGEST)
    }

    /// How many repairs are made within this time, each as soon as it is permitted.
    fn repairs_within(limiter: &mut RepairLimiter, time: Duration) -> usize {
        let (start, mut passed, mut made) = (Instant::now(), Duration::ZERO, 0);
        while passed < time {
            match limiter.permit(&"test", start + passed) {
                Ok(()) => made += 1,
                Err(wait) => passed += wait,
            }
        }
        made
    }

    #[test]
    fn the_first_repairs_are_immediate_and_pauses_grow_after_them() {
        let minute = Duration::from_secs(60);
        let few = repairs_within(&mut limiter(1), minute);
        assert!((60 / 5..25).contains(&few), "{few}");
        let more = repairs_within(&mut limiter(10), minute);
        assert!((9 + 60 / 5..9 + 25).contains(&more), "{more}");
    }

    #[test]
    fn a_calm_minute_starts_from_the_beginning() {
        let (mut limiter, start) = (limiter(1), Instant::now());
        assert_eq!(limiter.settle(start), None);
        assert_eq!(limiter.permit(&"test", start), Ok(()));
        assert!(limiter.permit(&"test", start).is_err());
        assert_eq!(limiter.settle(start + CALM / 4), Some(CALM - CALM / 4));
        assert_eq!(limiter.made(), 1);
        assert_eq!(limiter.settle(start + CALM), None);
        assert_eq!(limiter.made(), 0);
        assert_eq!(limiter.permit(&"test", start + CALM), Ok(()));
    }
}
