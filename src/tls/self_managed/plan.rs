//! What is to be done next: a function of what is stored, what is published and what time it is.
//!
//! At no step may a leaf that some replica serves be without its authority in a `caBundle` that every API server has
//! had the time to see. Therefore:
//!
//! 1. a new authority is written to the Secret beside the old ones, and published;
//! 2. an overlap later a new leaf is signed by it; replicas serve it as soon as they see it;
//! 3. an old authority goes when the last leaf that it signed has expired: whoever could still serve it can't.

use std::time::{Duration, Instant, SystemTime};

use super::{certificate::Certificate, policy::Policy, publication::Publication, secret::Stored};
use crate::metrics::Rotation;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Change what the Secret holds.
    Rotate(Rotation),
    /// Bring the `caBundle` to hold the authorities of the Secret.
    Publish,
    /// Nothing until then, unless something is seen to change.
    Wait(SystemTime),
}

/// What a step is decided on.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What the Secret holds; `None` if it is empty or unreadable.
    pub stored: Option<&'a Stored>,
    /// What the webhook configuration holds.
    pub published: &'a Publication,
    /// The time of the day.
    pub now: SystemTime,
    /// The same moment on the steady clock.
    pub instant: Instant,
}

impl Situation<'_> {
    /// Decides.
    pub fn next(&self, policy: &Policy) -> Step {
        let Some(stored) = self.stored else { return Step::Rotate(Rotation::Authority) };
        if stored.key.is_none() || stored.newest.has_expired(self.now) {
            return Step::Rotate(Rotation::Authority);
        }
        let differs = self.published.differs_from(stored.authorities());
        // To sign takes no more than that the newest authority is published, so that leaves are renewed even where
        // something else keeps the caBundle from being just what it should be.
        let mut wake = stored.newest.expires();
        if let Some(age) = self.published.age(&stored.newest, self.instant) {
            let now_by_newest = match self.usable_leaf(stored, policy) {
                None => return Step::Rotate(Rotation::Leaf),
                Some(leaf) => leaf.is_signed_by(&stored.newest).then(|| policy.due(leaf)),
            };
            match now_by_newest {
                // An API server that is behind by just an overlap has to know the authority, too.
                None if age > policy.overlap => return Step::Rotate(Rotation::Leaf),
                None => wake = wake.min(self.now + (policy.overlap - age) + Duration::from_millis(1)),
                Some(due) if due <= self.now => return Step::Rotate(Rotation::Leaf),
                Some(due) => {
                    let authority_due = policy.due(&stored.newest);
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
        if stored.without_the_gone(policy, self.now) != *stored {
            return Step::Rotate(Rotation::Drop);
        }
        let gone = stored.retired.iter().map(|leaf| leaf.expires() + policy.overlap).min();
        Step::Wait(gone.map_or(wake, |gone| wake.min(gone)))
    }

    /// The leaf, unless it has expired, is of other names or of no authority that there is.
    fn usable_leaf<'a>(&self, stored: &'a Stored, policy: &Policy) -> Option<&'a Certificate> {
        let leaf = &stored.leaf.as_ref()?.certificate;
        let authorities = stored.authorities().map(Certificate::der);
        leaf.is_trusted_by(authorities, &policy.server_names(), self.now).then_some(leaf)
    }
}
