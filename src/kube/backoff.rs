//! How long to pause between tries that fail, and which failures to tell of.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The first pause, before jitter.
const FIRST: Duration = Duration::from_millis(200);

/// Failures in a row.
#[derive(Debug)]
pub struct Failures {
    in_a_row: u32,
    pauses: Backoff,
}

impl Failures {
    /// None yet; pauses are this long at most.
    pub fn new(longest_pause: Duration) -> Self {
        Self { in_a_row: 0, pauses: Backoff::new(longest_pause) }
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
        self.pauses = Backoff::new(self.pauses.longest);
        Some(ended).filter(|count| *count > 0)
    }
}

/// Pauses that double, with jitter, up to a longest one.
#[derive(Debug)]
struct Backoff {
    pauses: ExponentialBackoff,
    longest: Duration,
}

impl Backoff {
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
    fn pauses_grow_and_end_at_the_longest() {
        let longest = Duration::from_secs(2);
        let mut backoff = Backoff::new(longest);
        assert!((FIRST..2 * FIRST + FIRST).contains(&backoff.pause()));
        let later: Vec<_> = (0..100).map(|_| backoff.pause()).collect();
        assert!(later[10..].iter().all(|pause| *pause == longest), "{later:?}");
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
