//! Metrics of admissions.

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry};

use super::{NamespaceMetrics, counters, histogram_opts, opts, register};
use crate::{
    admission::{Operation, Outcome},
    injection::warning::{Warned, WarningKind},
};

/// Metrics of admissions.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    by_outcome: Vec<IntCounter>,
    by_warning: [IntCounter; WarningKind::ALL.len()],
    /// By namespace, where that was asked for.
    pub namespaces: Option<NamespaceMetrics>,
    /// From the whole body read to the answer rendered, waits for accounts included.
    pub duration: Histogram,
    /// Being answered now.
    pub in_flight: IntGauge,
    /// Waits for an account that then came, in seconds.
    pub waits_arrived: Histogram,
    /// Waits for an account that did not come, in seconds.
    pub waits_timed_out: Histogram,
    /// Waits that the caller broke off, in seconds.
    pub waits_abandoned: Histogram,
    /// Waits that were not begun, since too many waited already.
    pub waits_refused: Histogram,
}

impl AdmissionMetrics {
    pub(super) fn new(registry: &Registry, most_namespaces: usize) -> Self {
        let help = "Admission requests by what they wanted, what the pod got and why.";
        let labels = ["operation", "outcome", "reason"];
        let total = register(registry, IntCounterVec::new(opts("admissions_total", help), &labels));
        let by_outcome = Operation::ALL.iter().flat_map(|operation| {
            let total = &total;
            Outcome::ALL.iter().map(move |outcome| {
                total.with_label_values(&[operation.as_str(), outcome.as_str(), outcome.reason()])
            })
        });
        let help = "Admissions answered with a warning, by what it is about.";
        let kinds = WarningKind::ALL.map(WarningKind::as_str);
        let warnings = counters(registry, ("admission_warnings_total", help), "kind", &kinds);
        let help = "Time from the whole body read to the answer rendered, waits for accounts included.";
        let duration = Histogram::with_opts(histogram_opts("admission_duration_seconds", help));
        let help = "Waits for a ServiceAccount that the watch had not shown yet, by how they ended.";
        let waits = HistogramVec::new(histogram_opts("lookup_wait_duration_seconds", help), &["result"]);
        let waits = register(registry, waits);
        let help = "Admission requests being answered.";
        Self {
            by_outcome: by_outcome.collect(),
            by_warning: kinds.map(|kind| warnings.with_label_values(&[kind])),
            namespaces: (most_namespaces > 0).then(|| NamespaceMetrics::new(registry, most_namespaces)),
            duration: register(registry, duration),
            in_flight: register(registry, IntGauge::with_opts(opts("admissions_in_flight", help))),
            waits_arrived: waits.with_label_values(&["arrived"]),
            waits_timed_out: waits.with_label_values(&["timed_out"]),
            waits_abandoned: waits.with_label_values(&["abandoned"]),
            waits_refused: waits.with_label_values(&["refused"]),
        }
    }

    /// Counts an admission.
    pub fn count(&self, operation: Operation, outcome: Outcome, warned: Warned) {
        self.by_outcome[operation as usize * Outcome::ALL.len() + outcome as usize].inc();
        for kind in warned.kinds() {
            self.by_warning[kind as usize].inc();
        }
    }
}
