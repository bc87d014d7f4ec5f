//! What is counted of a self-managed certificate.

use prometheus::{Gauge, IntCounter, IntCounterVec, Registry};

use super::{opts, register};

/// What can fail where a self-managed certificate is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfManagedOperation {
    /// Reading or watching the Secret.
    SecretWatch,
    /// Writing the Secret.
    SecretUpdate,
    /// Parsing the Secret's contents.
    SecretContent,
    /// Writing contents again that something else removed from the Secret.
    SecretReverted,
    /// Reading or watching the webhook configuration.
    ConfigurationWatch,
    /// Patching its `caBundle`.
    Publish,
    /// Patching a `caBundle` again that something else overwrites.
    CaBundleReverted,
    /// Making a certificate.
    Sign,
    /// Taking a certificate into use.
    Serve,
}

impl SelfManagedOperation {
    const ALL: [Self; 9] = [
        Self::SecretWatch,
        Self::SecretUpdate,
        Self::SecretContent,
        Self::SecretReverted,
        Self::ConfigurationWatch,
        Self::Publish,
        Self::CaBundleReverted,
        Self::Sign,
        Self::Serve,
    ];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SecretWatch => "secret_watch",
            Self::SecretUpdate => "secret_update",
            Self::SecretContent => "secret_content",
            Self::SecretReverted => "secret_reverted",
            Self::ConfigurationWatch => "configuration_watch",
            Self::Publish => "publish",
            Self::CaBundleReverted => "ca_bundle_reverted",
            Self::Sign => "sign",
            Self::Serve => "serve",
        }
    }
}

/// How what the Secret of a self-managed certificate holds is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// A new authority beside the old ones.
    Authority,
    /// A new leaf, signed by the newest authority.
    Leaf,
    /// What has expired goes, and with it the authorities that nothing needs any more.
    Drop,
}

impl Rotation {
    const ALL: [Self; 3] = [Self::Authority, Self::Leaf, Self::Drop];

    fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Leaf => "leaf",
            Self::Drop => "drop",
        }
    }

    /// What the log says of it.
    pub fn message(self) -> &'static str {
        match self {
            Self::Authority => "new certificate authority stored",
            Self::Leaf => "new certificate stored",
            Self::Drop => "expired certificates and authorities dropped",
        }
    }
}

/// What is counted of a self-managed certificate.
#[derive(Clone, Debug)]
pub struct SelfManagedMetrics {
    /// When the newest authority expires, in seconds since the epoch.
    pub authority_expiry: Gauge,
    rotations: [IntCounter; Rotation::ALL.len()],
    /// Patches of the `caBundle` that took effect.
    pub patches: IntCounter,
    failures: [IntCounter; SelfManagedOperation::ALL.len()],
    /// Retries, by operation.
    pub retries: IntCounterVec,
}

impl SelfManagedMetrics {
    pub(super) fn new(registry: &Registry, retries: &IntCounterVec) -> Self {
        let help = "When the newest authority of the self-managed certificate expires.";
        let expiry = Gauge::with_opts(opts("tls_authority_expiry_timestamp_seconds", help));
        let help = "Changes that this replica made to the certificate's Secret, by kind.";
        let rotations = IntCounterVec::new(opts("tls_rotations_total", help), &["kind"]);
        let rotations = register(registry, rotations);
        let help = "Patches of the webhook configuration's caBundle by this replica.";
        let patches = IntCounter::with_opts(opts("tls_ca_bundle_patches_total", help));
        let help = "Failures in keeping the self-managed certificate, by what failed.";
        let failures = IntCounterVec::new(opts("tls_self_managed_errors_total", help), &["operation"]);
        let failures = register(registry, failures);
        Self {
            authority_expiry: register(registry, expiry),
            rotations: Rotation::ALL.map(|kind| rotations.with_label_values(&[kind.as_str()])),
            patches: register(registry, patches),
            failures: SelfManagedOperation::ALL.map(|failed| failures.with_label_values(&[failed.as_str()])),
            retries: retries.clone(),
        }
    }

    /// Counts a change that took effect.
    pub fn rotated(&self, kind: Rotation) {
        self.rotations[kind as usize].inc();
    }

    /// Counts a failure.
    pub fn failed(&self, operation: SelfManagedOperation) {
        self.failures[operation as usize].inc();
    }
}
