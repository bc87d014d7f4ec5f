//! What was measured of one side.

use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;

/// The longest time that can be told, in nanoseconds: more than a request may take.
const LONGEST: u64 = 60_000_000_000;

/// Latencies and errors.
pub(super) struct Measurement {
    /// Of the requests that were answered with status 200, in nanoseconds.
    latencies: Histogram<u64>,
    /// The requests that were not.
    pub(super) errors: u64,
    /// The time that all of them took, one added to the other.
    busy: Duration,
}

impl Measurement {
    pub(super) fn new() -> anyhow::Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LONGEST, 3).context("no histogram can be made")?;
        Ok(Self { latencies, errors: 0, busy: Duration::ZERO })
    }

    /// Counts a request.
    pub(super) fn record(&mut self, time: Duration, is_answered: bool) {
        self.busy += time;
        if is_answered {
            self.latencies.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(LONGEST));
        } else {
            self.errors += 1;
        }
    }

    /// Adds what another worker measured.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.errors += other.errors;
        self.busy += other.busy;
        self.latencies.add(&other.latencies).context("the histograms can't be added")
    }

    /// The requests that were answered with status 200.
    pub(super) fn answered(&self) -> u64 {
        self.latencies.len()
    }

    /// The latency in microseconds within which this share of the answers came; none without answers.
    pub(super) fn latency(&self, quantile: f64) -> Option<f64> {
        (self.answered() > 0).then(|| self.latencies.value_at_quantile(quantile) as f64 / 1e3)
    }

    /// Answers per second, had the workers asked this side alone: each is busy with it for a part of its time only.
    pub(super) fn throughput(&self, concurrency: usize) -> Option<f64> {
        (self.answered() > 0).then(|| self.answered() as f64 * concurrency as f64 / self.busy.as_secs_f64())
    }
}
