//! The ConfigMap that maps roles to accounts, in the webhook's own namespace: this one object and no other.

use std::{sync::Arc, time::Duration};

use kube::Client;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    News,
    mapping::{CONFIG_MAP, Mapping},
};
use crate::{
    injection::resolver::Resolver,
    kube::{
        backoff::{Backoff, Failure},
        call::CallError,
        object::{Failing, Object, Observed},
    },
    metrics::{Label, MappingMetrics},
};

/// A failure of the ConfigMap of the role mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MappingFailure {
    /// Reading or watching it.
    Watch,
    /// Using what it holds.
    Document,
}

impl Label for MappingFailure {
    const ALL: &[Self] = &[Self::Watch, Self::Document];

    fn label(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::Document => "document",
        }
    }
}

const TASK: &str = "watch ConfigMap pod-identity-webhook";

/// The rule that the program's Role must have.
const RULE: &str = "give its Role {apiGroups: [\"\"], resources: [configmaps], resourceNames: [pod-identity-webhook], verbs: [get, watch]}";

/// The longest pause between two tries, as for the accounts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Follows the ConfigMap, and publishes each valid mapping.
#[derive(Debug)]
pub struct ConfigMap {
    resolver: Arc<Resolver>,
    mappings: watch::Sender<Option<Arc<Mapping>>>,
    not_ready_reason: watch::Sender<Option<&'static str>>,
    metrics: MappingMetrics,
}

impl ConfigMap {
    /// One that has not been read yet.
    pub fn new(resolver: Arc<Resolver>, metrics: MappingMetrics) -> Self {
        let not_ready_reason = watch::Sender::new(Some("the ConfigMap of roles has not been read yet"));
        Self { resolver, mappings: watch::Sender::default(), not_ready_reason, metrics }
    }

    /// The mappings as they come.
    pub fn mappings(&self) -> News<Mapping> {
        self.mappings.subscribe()
    }

    /// Why no mapping has come yet.
    pub fn not_ready_reason(&self) -> watch::Receiver<Option<&'static str>> {
        self.not_ready_reason.subscribe()
    }

    /// Follows it forever, in this namespace.
    pub async fn follow(self, client: Client, namespace: &str) {
        let collection = format!("/api/v1/namespaces/{namespace}/configmaps");
        let object = Object { client, collection, name: CONFIG_MAP.to_owned(), clock: None };
        let seen = watch::Sender::default();
        let mut news = seen.subscribe();
        let mut failures = WatchFailures {
            backoff: Backoff::new(TASK, MAX_PAUSE, self.metrics.retries.clone()),
            mappings: self.mappings.clone(),
            metrics: self.metrics.clone(),
        };
        let take = async {
            while news.changed().await.is_ok() {
                self.take(&news.borrow_and_update());
            }
        };
        tokio::join!(object.follow(seen, &mut failures), take);
    }

    fn take(&self, seen: &Observed) {
        let mapping = match seen {
            Observed::Unread => return,
            Observed::Absent => Ok(Mapping::default()),
            Observed::Present(config_map) => Mapping::of_config_map(config_map, &self.resolver),
        };
        match mapping {
            Ok(mapping) => {
                let is_there = *seen != Observed::Absent;
                info!(
                    entries = mapping.len(),
                    malformed = mapping.refused().len(),
                    is_there,
                    "ConfigMap {CONFIG_MAP} read"
                );
                mapping.log_refused();
                self.metrics.in_use(mapping.len(), mapping.refused().len());
                self.mappings.send_replace(Some(Arc::new(mapping)));
                self.not_ready_reason.send_replace(None);
            }
            Err(error) => {
                self.metrics.failed(MappingFailure::Document);
                self.metrics.unusable();
                if self.mappings.borrow().is_none() {
                    self.not_ready_reason
                        .send_replace(Some("the ConfigMap of roles can't be used: see the log"));
                }
                let effect = effect(&self.mappings);
                warn!(%error, effect, "ConfigMap {CONFIG_MAP} can't be used");
            }
        }
    }
}

/// The effect of a missing new mapping.
fn effect(mappings: &watch::Sender<Option<Arc<Mapping>>>) -> &'static str {
    if mappings.borrow().is_some() { "the roles stay as they were" } else { "not ready" }
}

/// Consecutive failures of the watch.
struct WatchFailures {
    backoff: Backoff,
    mappings: watch::Sender<Option<Arc<Mapping>>>,
    metrics: MappingMetrics,
}

impl Failing for WatchFailures {
    fn failed(&mut self, error: &CallError) -> Duration {
        self.metrics.failed(MappingFailure::Watch);
        let effect = effect(&self.mappings);
        let remedy = error.missing_right(RULE);
        self.backoff.failed(&Failure { operation: "mapping_watch", error, effect, remedy })
    }

    fn over(&mut self) {
        self.backoff.succeeded();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{MAPPING_FAILURES, labels};

    #[test]
    fn every_failure_has_its_series() {
        assert_eq!(labels::<MappingFailure>(), MAPPING_FAILURES);
    }
}
