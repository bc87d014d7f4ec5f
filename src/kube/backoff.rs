//! How long to pause between tries that fail, how they are counted, and when they are logged.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use prometheus::IntCounterVec;
use tracing::{info, warn};

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(200);

/// While tries go on failing, this often they are logged again.
const REMINDER: Duration = Duration::from_secs(300);

/// The retries of a task, such as a watch.
///
/// The first failure of each operation and the success after it are logged, and pauses grow from one failure to the next.
#[derive(Debug)]
pub struct Backoff {
    task: &'static str,
    longest: Duration,
    retries: IntCounterVec,
    pauses: ExponentialBackoff,
    outage: Option<Outage>,
}

/// Failures in a row.
#[derive(Debug)]
struct Outage {
    failures: u32,
    began: Instant,
    logged: Instant,
    /// The operations whose failure was logged.
    operations: Vec<&'static str>,
}

/// A failure, for the log.
pub struct Failure<'a> {
    /// The part of the task that failed, as it is counted.
    pub operation: &'static str,
    /// Why.
    pub error: &'a dyn Display,
    /// The effect on pods and accounts.
    pub effect: &'a str,
    /// The remedy, if it is known.
    pub remedy: Option<&'a str>,
}

impl Backoff {
    /// No failure yet. The log says "can't `task`"; pauses are `longest` at most; retries are counted by operation.
    pub fn new(task: &'static str, longest: Duration, retries: IntCounterVec) -> Self {
        Self { task, longest, retries, pauses: pauses(longest), outage: None }
    }

    /// Takes a failure: how long to pause before the next try.
    pub fn failed(&mut self, failure: &Failure<'_>) -> Duration {
        let &Failure { operation, error, effect, remedy } = failure;
        let now = Instant::now();
        let none = || Outage { failures: 0, began: now, logged: now, operations: Vec::new() };
        let outage = self.outage.get_or_insert_with(none);
        outage.failures += 1;
        let is_new = !outage.operations.contains(&operation);
        if is_new || outage.logged.elapsed() >= REMINDER {
            outage.logged = now;
            let failures = outage.failures;
            warn!(%error, operation, failures, effect, cure = remedy, "can't {}", self.task);
        }
        if is_new {
            outage.operations.push(operation);
        }
        self.retries.with_label_values(&[operation]).inc();
        // Jitter comes on top of the builder's own limit.
        self.pauses.next().unwrap_or(self.longest).min(self.longest)
    }

    /// The task works. Pauses are short again.
    pub fn succeeded(&mut self) {
        if let Some(outage) = self.outage.take() {
            self.pauses = pauses(self.longest);
            let seconds = outage.began.elapsed().as_secs_f64();
            info!(failures = outage.failures, seconds, "can {} again", self.task);
        }
    }

    /// Whether the last try failed.
    pub fn is_retrying(&self) -> bool {
        self.outage.is_some()
    }
}

/// Pauses that double, with jitter.
fn pauses(longest: Duration) -> ExponentialBackoff {
    let pauses = ExponentialBuilder::default().with_min_delay(FIRST).with_max_delay(longest);
    pauses.without_max_times().with_jitter().build()
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_anew_after_a_success() {
        let retries = IntCounterVec::new(Opts::new("retries", "retries"), &["operation"]).unwrap();
        let longest = Duration::from_secs(2);
        let mut backoff = Backoff::new("test", longest, retries.clone());
        let failure = || Failure { operation: "test", error: &"broken", effect: "none", remedy: None };
        for _ in 0..2 {
            assert!(!backoff.is_retrying());
            assert!((FIRST..3 * FIRST).contains(&backoff.failed(&failure())));
            let later: Vec<_> = (0..20).map(|_| backoff.failed(&failure())).collect();
            assert!(later[10..].iter().all(|pause| *pause == longest), "{later:?}");
            assert!(backoff.is_retrying());
            backoff.succeeded();
        }
        assert_eq!(retries.with_label_values(&["test"]).get(), 42);
    }
}
