//! Decides the next step, as a function of the Secret's contents, the published authorities and the time.
//!
//! At every step, the authority of each leaf that a replica serves must be in a `caBundle` that every API server has had
//! the time to see. Therefore:
//!
//! 1. a new authority is written to the Secret beside the old ones, and published;
//! 2. an overlap later a new leaf is signed by it; replicas serve it as soon as they see it;
//! 3. an old authority is removed when the last leaf that it signed has expired.

use std::time::{Duration, Instant, SystemTime};

use super::{certificate::Certificate, policy::Policy, publication::Publication, secret::SecretContents};
use crate::metrics::Label;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Change the Secret's contents.
    Rotate(Rotation),
    /// Write the authorities of the Secret to the `caBundle`.
    Publish,
    /// Wait until then, or until an object changes.
    Wait(SystemTime),
}

/// A change of the Secret's contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Add a new authority beside the old ones.
    Authority,
    /// Replace the leaf by a new one, which the newest authority signs.
    Leaf,
    /// Drop what has expired, and the authorities that are no longer needed.
    Drop,
}

impl Rotation {
    /// The log message once it is written.
    pub fn message(self) -> &'static str {
        match self {
            Self::Authority => "new certificate authority stored",
            Self::Leaf => "new certificate stored",
            Self::Drop => "expired certificates and authorities dropped",
        }
    }
}

impl Label for Rotation {
    const ALL: &[Self] = &[Self::Authority, Self::Leaf, Self::Drop];

    fn label(self) -> &'static str {
        match self {
            Self::Authority => "authority",
            Self::Leaf => "leaf",
            Self::Drop => "drop",
        }
    }
}

/// The input of a decision.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The Secret's contents; `None` if it is empty or unreadable.
    pub contents: Option<&'a SecretContents>,
    /// What the webhook configuration publishes.
    pub published: &'a Publication,
    /// The wall-clock time.
    pub now: SystemTime,
    /// The same moment on the monotonic clock.
    pub instant: Instant,
}

impl Situation<'_> {
    /// Decides the next step.
    pub fn next(&self, policy: &Policy) -> Step {
        let Some(contents) = self.contents else { return Step::Rotate(Rotation::Authority) };
        if contents.key.is_none() || contents.newest.has_expired(self.now) {
            return Step::Rotate(Rotation::Authority);
        }
        let differs = self.published.differs_from(contents.authorities());
        // Signing requires only that the newest authority is published. So leaves are renewed even where something else
        // adds authorities to the caBundle.
        let mut wake = contents.newest.expires();
        if let Some(age) = self.published.age(&contents.newest, self.instant) {
            let newest_leaf_due = match self.usable_leaf(contents, policy) {
                None => return Step::Rotate(Rotation::Leaf),
                Some(leaf) => leaf.is_signed_by(&contents.newest).then(|| policy.due(leaf)),
            };
            match newest_leaf_due {
                // An API server that lags by exactly one overlap must know the authority, too.
                None if age > policy.overlap => return Step::Rotate(Rotation::Leaf),
                None => wake = wake.min(self.now + (policy.overlap - age) + Duration::from_millis(1)),
                Some(due) if due <= self.now => return Step::Rotate(Rotation::Leaf),
                Some(due) => {
                    let authority_due = policy.due(&contents.newest);
                    if authority_due <= self.now && !differs {
                        return Step::Rotate(Rotation::Authority);
                    }
                    wake = wake.min(due).min(authority_due.max(self.now));
                }
            }
        }
        if differs {
            return Step::Publish;
        }
        if contents.without_expired(policy, self.now) != *contents {
            return Step::Rotate(Rotation::Drop);
        }
        let expiry = contents.retired.iter().map(|leaf| leaf.expires() + policy.overlap).min();
        Step::Wait(expiry.map_or(wake, |expiry| wake.min(expiry)))
    }

    /// The leaf, unless it has expired, lacks the server name, or its authority is missing.
    fn usable_leaf<'a>(&self, contents: &'a SecretContents, policy: &Policy) -> Option<&'a Certificate> {
        let leaf = &contents.leaf.as_ref()?.certificate;
        let authorities = contents.authorities().map(Certificate::der);
        leaf.is_trusted_by(authorities, &policy.server_names(), self.now).then_some(leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ROTATIONS, labels};

    #[test]
    fn every_kind_of_rotation_is_exposed() {
        assert_eq!(labels::<Rotation>(), ROTATIONS);
    }
}
