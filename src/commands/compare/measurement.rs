//! What was measured of one side.

use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use hyper::StatusCode;

use super::{client::Exchange, connection::Reply};

/// The longest time that can be told, in nanoseconds: more than a request may take.
const LONGEST: u64 = 60_000_000_000;

/// Latencies and errors.
pub(super) struct Measurement {
    /// Of the requests that were answered with status 200, in nanoseconds.
    latencies: Histogram<u64>,
    /// The requests that were not.
    pub(super) errors: u64,
    /// What was wrong with one of them.
    pub(super) first_error: Option<String>,
    /// The time that all of them took, one added to the other.
    busy: Duration,
}

impl Measurement {
    pub(super) fn new() -> anyhow::Result<Self> {
        let latencies = Histogram::new_with_bounds(1, LONGEST, 3).context("no histogram can be made")?;
        Ok(Self { latencies, errors: 0, first_error: None, busy: Duration::ZERO })
    }

    /// Counts a request, and returns whether it was answered.
    pub(super) fn record(&mut self, exchange: Exchange) -> bool {
        self.busy += exchange.time;
        let error = match exchange.reply {
            Ok(Reply { status: StatusCode::OK, .. }) => {
                let nanos = u64::try_from(exchange.time.as_nanos()).unwrap_or(LONGEST);
                self.latencies.saturating_record(nanos);
                return true;
            }
            Ok(reply) => format!("HTTP status {}", reply.status),
            Err(error) => format!("{error:#}"),
        };
        self.errors += 1;
        self.first_error.get_or_insert(error);
        false
    }

    /// Adds what another worker measured.
    pub(super) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        self.errors += other.errors;
        self.busy += other.busy;
        self.first_error = self.first_error.take().or_else(|| other.first_error.clone());
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

    /// The share of the answers that took from `low` up to `high` microseconds.
    pub(super) fn share_between(&self, low: f64, high: f64) -> f64 {
        let [low, high] = [low, high].map(|micros| (micros * 1e3) as u64);
        self.latencies.count_between(low, high.saturating_sub(1)) as f64 / self.answered() as f64
    }

    /// Answers per second, had the workers asked this side alone: each is busy with it for a part of its time only.
    pub(super) fn throughput(&self, concurrency: usize) -> Option<f64> {
        (self.answered() > 0).then(|| self.answered() as f64 * concurrency as f64 / self.busy.as_secs_f64())
    }
}
