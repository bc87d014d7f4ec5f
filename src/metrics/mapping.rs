//! Metrics of the role mapping.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{Label, counters, opts, register};

/// The failures of the ConfigMap of the role mapping.
pub const MAPPING_FAILURES: [&str; 2] = ["watch", "document"];

/// Metrics of the role mapping.
#[derive(Clone, Debug)]
pub struct MappingMetrics {
    used: IntGauge,
    malformed: IntGauge,
    usable: IntGauge,
    failures: IntCounterVec,
    /// Retries of the watch.
    pub retries: IntCounterVec,
}

impl MappingMetrics {
    pub(super) fn new(registry: &Registry, retries: &IntCounterVec) -> Self {
        let help = "Entries of the role mapping, by whether they can be used.";
        let entries = register(registry, IntGaugeVec::new(opts("role_mapping_entries", help), &["state"]));
        let help = "1 unless the ConfigMap of the role mapping holds what can't be used.";
        let usable = register(registry, IntGauge::with_opts(opts("role_mapping_usable", help)));
        usable.set(1);
        let help = "Failures with the ConfigMap of the role mapping, by what failed.";
        let failures = ("role_mapping_errors_total", help);
        let failures = counters(registry, failures, "reason", &MAPPING_FAILURES);
        Self {
            used: entries.with_label_values(&["used"]),
            malformed: entries.with_label_values(&["malformed"]),
            usable,
            failures,
            retries: retries.clone(),
        }
    }

    /// Takes the number of entries that are used now, and of those that can't be.
    pub fn in_use(&self, used: usize, malformed: usize) {
        self.used.set(used as i64);
        self.malformed.set(malformed as i64);
        self.usable.set(1);
    }

    /// Counts a failure.
    pub fn failed(&self, failure: impl Label) {
        self.failures.with_label_values(&[failure.label()]).inc();
    }

    /// The ConfigMap holds what can't be used.
    pub fn unusable(&self) {
        self.usable.set(0);
    }
}
