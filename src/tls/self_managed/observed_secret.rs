//! The Secret as last observed, what it held before, and what something else removed from it.

use std::time::{Duration, Instant, SystemTime};

use tracing::warn;

use super::{
    authority::CannotSign,
    failures::{MAX_PAUSE_OF_REPAIRS, Operation},
    plan::Rotation,
    policy::Policy,
    repair_limiter::RepairLimiter,
    secret::{Reading, SecretContents, lost_reason},
};
use crate::{kube::object::Observed, metrics::SelfManagedMetrics};

/// How often lost contents are replaced by a new authority, as someone who empties the Secret wants. Something that
/// removes contents more often than that does not want new keys: then the last contents are written again.
const MAX_NEW_AUTHORITIES: u32 = 2;

/// The Secret as the next step is decided on.
pub(super) struct ObservedSecret {
    name: String,
    observed: Observed,
    contents: Option<SecretContents>,
    /// The last complete contents that were observed or written.
    remembered: Option<SecretContents>,
    /// The entries that the Secret no longer holds.
    lost: Vec<&'static str>,
    /// Whether the API server stored something else than what was last written here.
    is_altered_on_write: bool,
    repairs: RepairLimiter,
    metrics: SelfManagedMetrics,
}

impl ObservedSecret {
    pub(super) fn new(name: &str, metrics: &SelfManagedMetrics) -> Self {
        let operation = Operation::SecretReverted;
        Self {
            name: name.to_owned(),
            observed: Observed::Unread,
            contents: None,
            remembered: None,
            lost: Vec::new(),
            is_altered_on_write: false,
            repairs: RepairLimiter::new(operation, metrics.clone(), 1, MAX_PAUSE_OF_REPAIRS),
            metrics: metrics.clone(),
        }
    }

    pub(super) fn observed(&self) -> &Observed {
        &self.observed
    }

    /// What the Secret holds, as far as it can be used.
    pub(super) fn contents(&self) -> Option<&SecretContents> {
        self.contents.as_ref()
    }

    /// Why a replica that has no certificate can't get one, as far as the Secret is the reason.
    pub(super) fn not_ready_reason(&self) -> Option<&'static str> {
        lost_reason(&self.lost)
    }

    /// Takes the object that was read or watched last.
    pub(super) fn take(&mut self, secret: Observed) {
        if secret == self.observed {
            return;
        }
        if secret == Observed::Absent {
            warn!(
                name = self.name,
                "the certificate's Secret does not exist; the served certificate stays in use. Create the Secret, \
                 empty: with the chart (helm upgrade), or with kubectl create secret generic"
            );
        }
        self.observed = secret;
        let Some(object) = self.observed.object() else {
            self.contents = None;
            return;
        };
        let Reading { mut contents, defects } = Reading::of(object);
        self.lost = lost_entries(self.remembered.as_ref(), contents.as_ref(), object);
        for defect in &defects {
            self.metrics.failed(Operation::SecretContent);
            // Lost entries are reported when they are written again.
            if self.lost.is_empty() {
                warn!(
                    name = self.name,
                    defect, "part of the certificate's Secret is damaged and is replaced"
                );
            }
        }
        if let (Some(contents), Some(before), false) = (&mut contents, &self.remembered, defects.is_empty()) {
            contents.remember(before);
        }
        self.contents = contents;
        if let Some(contents) = &self.contents {
            self.metrics.authority_expiry.set(super::seconds(contents.newest.expires()));
            if self.lost.is_empty() {
                self.remembered = Some(contents.clone());
            }
        }
    }

    /// Whether these are the contents that were observed or written last.
    pub(super) fn remembers(&self, contents: &SecretContents) -> bool {
        self.remembered.as_ref() == Some(contents)
    }

    /// Takes what the API server stored when `next` was written.
    pub(super) fn wrote(&mut self, next: SecretContents, stored: &Observed) {
        if let Some(object) = stored.object() {
            let contents = Reading::of(object).contents;
            self.lost = lost_entries(Some(&next), contents.as_ref(), object);
            self.is_altered_on_write = !self.lost.is_empty();
        }
        self.remembered = Some(next);
    }

    /// Whether the next write may be made now; if not, how long to wait.
    pub(super) fn permit_write(&mut self, now: Instant) -> Result<(), Duration> {
        if self.lost.is_empty() {
            return Ok(());
        }
        let error = format!(
            "something changes what is written to the Secret {}: it lacks {}. Look for an admission policy, a webhook \
             or a controller that removes or empties its entries",
            self.name,
            self.lost.join(", ")
        );
        self.repairs.permit(&error, now)
    }

    /// Ends the count of repairs when there has been none for long; returns when to call this again.
    pub(super) fn settle(&mut self, now: Instant) -> Option<Duration> {
        self.repairs.settle(now)
    }

    /// What the Secret is to hold after this step; `None` where there is nothing to do.
    pub(super) fn next(
        &self,
        rotation: Rotation,
        policy: &Policy,
        now: SystemTime,
    ) -> Result<Option<SecretContents>, CannotSign> {
        if let Some(contents) = self.to_restore(now) {
            return Ok(Some(contents.clone()));
        }
        let contents = self.contents.as_ref();
        match rotation {
            // If the Secret was emptied, its old authorities stay, for the leaf that is served until there is a new one.
            Rotation::Authority => {
                let old = contents.or(self.remembered.as_ref());
                SecretContents::with_new_authority(old, policy, now).map(Some)
            }
            Rotation::Leaf => contents.map_or(Ok(None), |contents| contents.with_new_leaf(policy, now)),
            Rotation::Drop => Ok(contents.map(|contents| contents.without_expired(policy, now))),
        }
    }

    /// The contents that are written again, where something removes them repeatedly.
    fn to_restore(&self, now: SystemTime) -> Option<&SecretContents> {
        let is_repeated = self.is_altered_on_write || self.repairs.made() > MAX_NEW_AUTHORITIES;
        let is_lost = !self.lost.is_empty() && is_repeated;
        self.remembered.as_ref().filter(|before| is_lost && !before.newest.has_expired(now))
    }
}

/// The entries that `secret` lacks of what it held `before`, if it can't be used without them.
fn lost_entries(
    before: Option<&SecretContents>,
    now: Option<&SecretContents>,
    secret: &serde_json::Value,
) -> Vec<&'static str> {
    let Some(before) = before else { return Vec::new() };
    let is_loss = now.is_none_or(|now| {
        (before.key.is_some() && now.key.is_none()) || (before.leaf.is_some() && now.leaf.is_none())
    });
    if is_loss { before.differing_entries(secret) } else { Vec::new() }
}
