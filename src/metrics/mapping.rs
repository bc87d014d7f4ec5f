//! What is counted of the role mapping.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{opts, register};

/// What can fail with the ConfigMap of the role mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingFailure {
    /// Reading or watching it.
    Watch,
    /// Using what it holds.
    Document,
}

impl MappingFailure {
    const ALL: [Self; 2] = [Self::Watch, Self::Document];

    fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Document => "document",
        }
    }
}

/// What is counted of the role mapping.
#[derive(Clone, Debug)]
pub struct MappingMetrics {
    used: IntGauge,
    malformed: IntGauge,
    usable: IntGauge,
    failures: [IntCounter; MappingFailure::ALL.len()],
}

impl MappingMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Entries of the role mapping, by whether they can be used.";
        let entries = register(registry, IntGaugeVec::new(opts("role_mapping_entries", help), &["state"]));
        let help = "1 unless the ConfigMap of the role mapping holds what can't be used.";
        let usable = register(registry, IntGauge::with_opts(opts("role_mapping_usable", help)));
        usable.set(1);
        let help = "Failures with the ConfigMap of the role mapping, by what failed.";
        let errors = IntCounterVec::new(opts("role_mapping_errors_total", help), &["reason"]);
        let errors = register(registry, errors);
        Self {
            used: entries.with_label_values(&["used"]),
            malformed: entries.with_label_values(&["malformed"]),
            usable,
            failures: MappingFailure::ALL.map(|failure| errors.with_label_values(&[failure.as_str()])),
        }
    }

    /// Takes the number of entries that are used now, and of those that can't be.
    pub fn in_use(&self, used: usize, malformed: usize) {
        self.used.set(used as i64);
        self.malformed.set(malformed as i64);
        self.usable.set(1);
    }

    /// Counts a failure.
    pub fn failed(&self, failure: MappingFailure) {
        self.failures[failure as usize].inc();
        if failure == MappingFailure::Document {
            self.usable.set(0);
        }
    }
}
