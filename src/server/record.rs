//! Each admission is counted and timed, and each wait for an account.

use std::sync::Arc;

use prometheus::Histogram;
use tokio::time::Instant;
use tracing::debug;

use crate::{
    admission::{Operation, Outcome},
    injection::warning::Warned,
    metrics::{AdmissionMetrics, NamespaceCounters},
};

/// Counts an admission when it is dropped, whether it was answered or abandoned.
pub(super) struct Record<'a> {
    metrics: &'a AdmissionMetrics,
    pub(super) begun: Instant,
    pub(super) operation: Operation,
    pub(super) outcome: Outcome,
    pub(super) warned: Warned,
    /// Whether `--record` takes the request: its object is a pod.
    pub(super) is_recordable: bool,
    namespace: Option<Arc<NamespaceCounters>>,
}

impl<'a> Record<'a> {
    pub(super) fn begin(metrics: &'a AdmissionMetrics) -> Self {
        metrics.in_flight.inc();
        let (operation, outcome) = (Operation::Unknown, Outcome::Abandoned);
        let (warned, namespace) = (Warned::default(), None);
        Self { metrics, begun: Instant::now(), operation, outcome, warned, is_recordable: true, namespace }
    }

    /// Takes the namespace that the admission counts for.
    pub(super) fn is_for(&mut self, namespace: &str) {
        self.namespace = self.metrics.namespaces.as_ref().map(|namespaces| namespaces.of(namespace));
    }

    /// Takes how the admission of a pod ends.
    pub(super) fn ends(
        &mut self,
        operation: Operation,
        outcome: Outcome,
        (uid, namespace, pod): (&str, &str, &str),
    ) {
        (self.operation, self.outcome) = (operation, outcome);
        debug!(
            uid,
            namespace,
            pod,
            operation = operation.as_str(),
            outcome = outcome.as_str(),
            reason = outcome.reason(),
            "admission"
        );
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics.count(self.operation, self.outcome, self.warned);
        if let Some(namespace) = &self.namespace {
            namespace.count(self.outcome, self.warned);
        }
        self.metrics.duration.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// Measures a wait when it is dropped, whether it was completed or abandoned.
pub(super) struct Wait<'a> {
    pub(super) begun: Instant,
    pub(super) histogram: &'a Histogram,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.histogram.observe(self.begun.elapsed().as_secs_f64());
    }
}
