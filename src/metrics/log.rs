//! Lines of the log that were dropped. Whoever writes the log counts them; they are asked for at each scrape.

use prometheus::{
    IntCounter,
    core::{Collector, Desc},
    proto::MetricFamily,
};

use super::opts;

pub(super) struct DroppedLines<F> {
    total: IntCounter,
    so_far: F,
}

impl<F: Fn() -> u64> DroppedLines<F> {
    /// Of which there have been so many so far.
    pub(super) fn new(so_far: F) -> Self {
        let help = "Lines of the log that were dropped because nobody read those before them.";
        let total = IntCounter::with_opts(opts("log_lines_dropped_total", help)).expect("the name is valid");
        Self { total, so_far }
    }
}

impl<F: Fn() -> u64 + Send + Sync> Collector for DroppedLines<F> {
    fn desc(&self) -> Vec<&Desc> {
        self.total.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.total.inc_by((self.so_far)().saturating_sub(self.total.get()));
        self.total.collect()
    }
}
