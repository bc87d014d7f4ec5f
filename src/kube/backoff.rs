//! How long to pause between tries that fail, how they are counted, and when they are logged.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use prometheus::IntCounter;
use tracing::{info, warn};

use super::root_cause::root_cause;

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(200);

/// While tries go on failing, this often they are logged again.
const REMINDER: Duration = Duration::from_secs(300);

/// The retries of a task, such as a watch.
///
/// The first failure and the success after it are logged, and pauses grow from one failure to the next.
#[derive(Debug)]
pub struct Backoff {
    task: &'static str,
    longest: Duration,
    retries: IntCounter,
    pauses: ExponentialBackoff,
    outage: Option<Outage>,
}

/// Failures in a row.
#[derive(Debug)]
struct Outage {
    failures: u32,
    began: Instant,
    logged: Instant,
}

/// What the log says of a failure.
#[derive(Debug)]
pub struct Failure<'a> {
    /// What failed.
    pub error: &'a (dyn Error + 'static),
    /// What that means for those who are served.
    pub effect: &'a str,
    /// What to do about it, where that is known.
    pub remedy: Option<&'a str>,
}

impl Backoff {
    /// No failure yet. The log says "can't `task`"; pauses are `longest` at most; each retry is counted.
    pub fn new(task: &'static str, longest: Duration, retries: IntCounter) -> Self {
        Self { task, longest, retries, pauses: pauses(longest), outage: None }
    }

    /// Takes a failure: how long to pause before the next try.
    pub fn failed(&mut self, failure: &Failure<'_>) -> Duration {
        let now = Instant::now();
        let is_first = self.outage.is_none();
        let outage = self.outage.get_or_insert(Outage { failures: 0, began: now, logged: now });
        outage.failures += 1;
        if is_first || outage.logged.elapsed() >= REMINDER {
            outage.logged = now;
            let Failure { error, effect, remedy } = failure;
            warn!(
                %error,
                cause = %root_cause(*error),
                failures = outage.failures,
                effect,
                cure = remedy,
                "can't {}",
                self.task
            );
        }
        self.retries.inc();
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

/// Failures in a row.
#[derive(Debug)]
pub struct Failures {
    in_a_row: u32,
    pauses: Pauses,
}

impl Failures {
    /// None yet; pauses are this long at most.
    pub fn new(longest_pause: Duration) -> Self {
        Self { in_a_row: 0, pauses: Pauses::new(longest_pause) }
    }

    /// Counts one more: how many there are now, if that is to be told of, and how long to pause.
    ///
    /// An outage is told of at its beginning, and then ever more rarely.
    pub fn another(&mut self) -> (Option<u32>, Duration) {
        self.in_a_row += 1;
        (Some(self.in_a_row).filter(|count| count.is_power_of_two()), self.pauses.pause())
    }

    /// How many there are.
    pub fn in_a_row(&self) -> u32 {
        self.in_a_row
    }

    /// Counts from none again, but goes on with pauses as long as they are.
    pub fn recount(&mut self) {
        self.in_a_row = 0;
    }

    /// They are over: how many there were, if any.
    pub fn over(&mut self) -> Option<u32> {
        let ended = std::mem::take(&mut self.in_a_row);
        self.pauses = Pauses::new(self.pauses.longest);
        Some(ended).filter(|count| *count > 0)
    }
}

/// Pauses that double, with jitter, up to a longest one.
#[derive(Debug)]
struct Pauses {
    pauses: ExponentialBackoff,
    longest: Duration,
}

impl Pauses {
    /// Begins with the shortest.
    fn new(longest: Duration) -> Self {
        let pauses = ExponentialBuilder::default().with_min_delay(FIRST).with_max_delay(longest);
        Self { pauses: pauses.without_max_times().with_jitter().build(), longest }
    }

    /// The next pause.
    fn pause(&mut self) -> Duration {
        // Jitter comes on top of the builder's own limit.
        self.pauses.next().unwrap_or(self.longest).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_anew_after_a_success() {
        let (longest, retries) = (Duration::from_secs(2), IntCounter::new("retries", "retries").unwrap());
        let mut backoff = Backoff::new("test", longest, retries.clone());
        let failure = || Failure { error: &std::fmt::Error, effect: "none", remedy: None };
        for _ in 0..2 {
            assert!(!backoff.is_retrying());
            assert!((FIRST..3 * FIRST).contains(&backoff.failed(&failure())));
            let later: Vec<_> = (0..20).map(|_| backoff.failed(&failure())).collect();
            assert!(later[10..].iter().all(|pause| *pause == longest), "{later:?}");
            assert!(backoff.is_retrying());
            backoff.succeeded();
        }
        assert_eq!(retries.get(), 42);
    }

    #[test]
    fn an_outage_is_told_of_ever_more_rarely_and_at_its_end() {
        let mut failures = Failures::new(Duration::from_secs(2));
        assert_eq!(failures.over(), None);
        let told: Vec<u32> = (0..20).filter_map(|_| failures.another().0).collect();
        assert_eq!(told, [1, 2, 4, 8, 16]);
        assert_eq!(failures.over(), Some(20));
        let (told, pause) = failures.another();
        assert_eq!(told, Some(1));
        assert!(pause < 3 * FIRST, "pauses begin anew: {pause:?}");
        for _ in 0..20 {
            failures.another();
        }
        failures.recount();
        let (told, pause) = failures.another();
        assert_eq!((told, pause), (Some(1), Duration::from_secs(2)), "pauses stay long");
    }
}
