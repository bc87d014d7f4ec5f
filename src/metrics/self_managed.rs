//! Metrics of a self-managed certificate.

use prometheus::{Gauge, IntCounter, IntCounterVec, Registry};

use super::{Label, counters, opts, register};

/// How the certificate's Secret is changed.
pub const ROTATIONS: [&str; 3] = ["authority", "leaf", "drop"];

/// The operations of the certificate controller that can fail.
pub const SELF_MANAGED_OPERATIONS: [&str; 9] = [
    "secret_watch",
    "secret_update",
    "secret_content",
    "secret_reverted",
    "configuration_watch",
    "publish",
    "ca_bundle_reverted",
    "sign",
    "serve",
];

/// Metrics of a self-managed certificate.
#[derive(Clone, Debug)]
pub struct SelfManagedMetrics {
    /// When the newest authority expires, in seconds since the epoch.
    pub authority_expiry: Gauge,
    rotations: IntCounterVec,
    /// Patches of the `caBundle` that took effect.
    pub patches: IntCounter,
    failures: IntCounterVec,
    /// Retries, by operation.
    pub retries: IntCounterVec,
}

impl SelfManagedMetrics {
    pub(super) fn new(registry: &Registry, retries: &IntCounterVec) -> Self {
        let help = "When the newest authority of the self-managed certificate expires.";
        let expiry = Gauge::with_opts(opts("tls_authority_expiry_timestamp_seconds", help));
        let help = "Changes that this replica made to the certificate's Secret, by kind.";
        let rotations = counters(registry, ("tls_rotations_total", help), "kind", &ROTATIONS);
        let help = "Patches of the webhook configuration's caBundle by this replica.";
        let patches = IntCounter::with_opts(opts("tls_ca_bundle_patches_total", help));
        let help = "Failures in keeping the self-managed certificate, by what failed.";
        let failures = ("tls_self_managed_errors_total", help);
        let failures = counters(registry, failures, "operation", &SELF_MANAGED_OPERATIONS);
        Self {
            authority_expiry: register(registry, expiry),
            rotations,
            patches: register(registry, patches),
            failures,
            retries: retries.clone(),
        }
    }

    /// Counts a change that took effect.
    pub fn rotated(&self, kind: impl Label) {
        self.rotations.with_label_values(&[kind.label()]).inc();
    }

    /// Counts a failure.
    pub fn failed(&self, operation: impl Label) {
        self.failures.with_label_values(&[operation.label()]).inc();
    }
}
