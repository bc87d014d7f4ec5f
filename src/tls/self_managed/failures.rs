//! Failures of the certificate controller: counted, logged and followed by growing pauses.

use std::{fmt::Display, time::Duration};

use crate::{
    kube::{
        backoff::{Backoff, Failure},
        call::CallError,
        object::Failing,
    },
    metrics::{Label, SelfManagedMetrics},
};

/// The longest pause after a failed call.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The longest pause between repairs of the Secret.
pub(super) const MAX_PAUSE_OF_REPAIRS: Duration = Duration::from_secs(30);

/// An operation of the certificate controller that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
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

impl Label for Operation {
    const ALL: &[Self] = &[
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

    fn label(self) -> &'static str {
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

/// Consecutive failures.
#[derive(Debug)]
pub(super) struct Failures(Backoff);

impl Failures {
    pub(super) fn new(longest_pause: Duration, metrics: &SelfManagedMetrics) -> Self {
        Self(Backoff::new("keep the certificate", longest_pause, metrics.retries.clone()))
    }

    /// Logs a failure and returns how long to pause.
    pub(super) fn next(&mut self, operation: Operation, error: &dyn Display) -> Duration {
        let effect = "the served certificate stays as it is";
        self.0.failed(&Failure { operation: operation.label(), error, effect, remedy: None })
    }

    /// Logs that the failures have ended, if there were any.
    pub(super) fn over(&mut self) {
        self.0.succeeded();
    }
}

/// Consecutive failures of the watch of one object.
#[derive(Debug)]
pub(super) struct WatchFailures {
    operation: Operation,
    metrics: SelfManagedMetrics,
    failures: Failures,
}

impl WatchFailures {
    pub(super) fn new(operation: Operation, metrics: SelfManagedMetrics) -> Self {
        let failures = Failures::new(MAX_PAUSE, &metrics);
        Self { operation, metrics, failures }
    }
}

impl Failing for WatchFailures {
    fn failed(&mut self, error: &CallError) -> Duration {
        self.metrics.failed(self.operation);
        self.failures.next(self.operation, error)
    }

    fn over(&mut self) {
        self.failures.over();
    }

    fn absent(&mut self) {
        self.metrics.failed(self.operation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{SELF_MANAGED_OPERATIONS, labels};

    #[test]
    fn every_operation_is_exposed() {
        assert_eq!(labels::<Operation>(), SELF_MANAGED_OPERATIONS);
    }
}
