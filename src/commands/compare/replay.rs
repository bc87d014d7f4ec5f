//! The measurement: workers that send the reviews to both sides in turn.
//!
//! A worker asks one side after the other, so that whatever else the machine does is met by both alike. In HTTP/1.1 it holds
//! one connection to each; in HTTP/2 all workers share one. Which side comes first alternates, from review to review and from round to round.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::ProgressBar;
use tokio::task::JoinSet;

use super::{client::Client, measurement::Measurement, review::Review, sides::Side};
use crate::server::Protocol;

/// How much is measured.
#[derive(Clone, Copy)]
pub(super) struct Load {
    pub(super) protocol: Protocol,
    pub(super) concurrency: usize,
    pub(super) warm_up: Duration,
    pub(super) limit: Limit,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Http1 => write!(f, "{} connections to each side, ", self.concurrency)?,
            Protocol::Http2 => write!(f, "{} streams of HTTP/2 to each side, ", self.concurrency)?,
        }
        match self.limit {
            Limit::Count(count) => write!(f, "{count} requests"),
            Limit::Duration(duration) => write!(f, "{}", humantime::format_duration(duration)),
        }
    }
}

/// When it has been enough.
#[derive(Clone, Copy)]
pub(super) enum Limit {
    /// Requests to each side.
    Count(u64),
    Duration(Duration),
}

/// What was measured.
pub(super) struct Measured {
    /// Of each side, in their order.
    pub(super) sides: Vec<Measurement>,
    /// The requests that one side answered and the other did not.
    pub(super) answered_by_one: u64,
}

/// Replays the reviews. The error is that a side can't be reached any more.
pub(super) async fn replay(
    sides: &[Arc<Side>],
    reviews: Vec<Review>,
    load: Load,
    bar: ProgressBar,
) -> anyhow::Result<Measured> {
    let schedule = Arc::new(Schedule::start(load, bar));
    let reviews: Arc<[Review]> = reviews.into();
    let mut workers = JoinSet::new();
    for _ in 0..load.concurrency {
        let clients = sides.iter().map(|side| Client::new(Arc::clone(side))).collect();
        let measured = Measured::nothing(sides.len())?;
        let worker = Worker { clients, reviews: Arc::clone(&reviews), measured };
        workers.spawn(worker.run(Arc::clone(&schedule)));
    }
    let mut total = Measured::nothing(sides.len())?;
    while let Some(worker) = workers.join_next().await {
        total.add(&worker??)?;
    }
    Ok(total)
}

impl Measured {
    fn nothing(sides: usize) -> anyhow::Result<Self> {
        let sides = (0..sides).map(|_| Measurement::new()).collect::<anyhow::Result<_>>()?;
        Ok(Self { sides, answered_by_one: 0 })
    }

    fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.answered_by_one += other.answered_by_one;
        self.sides.iter_mut().zip(&other.sides).try_for_each(|(side, other)| side.add(other))
    }
}

/// Hands out turns to all workers.
struct Schedule {
    warm_up_until: Instant,
    limit: Limit,
    warm_up_turns: AtomicU64,
    turns: AtomicU64,
    bar: ProgressBar,
}

impl Schedule {
    fn start(load: Load, bar: ProgressBar) -> Self {
        let warm_up_until = Instant::now() + load.warm_up;
        bar.set_length(match load.limit {
            Limit::Count(count) => count,
            Limit::Duration(duration) => millis(duration),
        });
        let (warm_up_turns, turns) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { warm_up_until, limit: load.limit, warm_up_turns, turns, bar }
    }

    fn next_of_warm_up(&self) -> Option<u64> {
        (Instant::now() < self.warm_up_until).then(|| self.warm_up_turns.fetch_add(1, Ordering::Relaxed))
    }

    fn next(&self) -> Option<u64> {
        let turn = self.turns.fetch_add(1, Ordering::Relaxed);
        let is_within = match self.limit {
            Limit::Count(count) => {
                self.bar.set_position(turn.min(count));
                turn < count
            }
            Limit::Duration(duration) => {
                let passed = self.warm_up_until.elapsed();
                self.bar.set_position(millis(passed.min(duration)));
                passed < duration
            }
        };
        is_within.then_some(turn)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Asks all sides, over connections of its own.
struct Worker {
    clients: Vec<Client>,
    reviews: Arc<[Review]>,
    measured: Measured,
}

impl Worker {
    async fn run(mut self, schedule: Arc<Schedule>) -> anyhow::Result<Measured> {
        while let Some(turn) = schedule.next_of_warm_up() {
            self.take(turn).await?;
        }
        self.measured = Measured::nothing(self.clients.len())?;
        while let Some(turn) = schedule.next() {
            self.take(turn).await?;
        }
        Ok(self.measured)
    }

    /// Sends one review to each side.
    async fn take(&mut self, turn: u64) -> anyhow::Result<()> {
        let sides = self.clients.len();
        let Turn { review, first } = Turn::new(turn, self.reviews.len());
        let mut answered = 0;
        for side in (0..sides).map(|side| (first + side) % sides) {
            let body = self.reviews[review].body.clone();
            let exchange = self.clients[side].ask(body).await?;
            answered += usize::from(self.measured.sides[side].record(exchange));
        }
        self.measured.answered_by_one += u64::from(answered != 0 && answered != sides);
        Ok(())
    }
}

/// What is sent, and who comes first.
struct Turn {
    review: usize,
    /// Counts on beyond the sides there are.
    first: usize,
}

impl Turn {
    fn new(turn: u64, reviews: usize) -> Self {
        let (round, review) = (turn as usize / reviews, turn as usize % reviews);
        Self { review, first: round + review }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_comes_first_with_each_review_as_often_as_the_other() {
        for reviews in 1..6 {
            for review in 0..reviews {
                let turns = (0..4 * reviews as u64).map(|turn| Turn::new(turn, reviews));
                let of_review = turns.filter(|turn| turn.review == review);
                let firsts: Vec<usize> = of_review.map(|turn| turn.first % 2).collect();
                let (one, other) = (review % 2, (review + 1) % 2);
                assert_eq!(firsts, [one, other, one, other], "review {review} of {reviews}");
            }
        }
    }
}
