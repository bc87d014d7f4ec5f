//! Metrics of the accounts and where they come from.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{ContainerCredentialsMetrics, Label, MappingMetrics, counters, now, opts, register};

/// States of accounts.
pub const ACCOUNT_STATES: [&str; 5] =
    ["annotated", "mapped", "malformed", "container_credentials", "unannotated"];

/// The failures of the sources of accounts.
pub const SOURCE_FAILURES: [&str; 7] =
    ["list", "watch_start", "watch_event", "watch_stream", "watch_ended", "no_resource_version", "manifests"];

/// Metrics of the accounts.
#[derive(Clone, Debug)]
pub struct AccountMetrics {
    /// Of the role mapping.
    pub mapping: MappingMetrics,
    /// Of the file of container credentials.
    pub container_credentials: ContainerCredentialsMetrics,
    /// Retries of the watch.
    pub retries: IntCounterVec,
    known: IntGaugeVec,
    applied: IntCounter,
    deleted: IntCounter,
    failures: IntCounterVec,
    lists: IntCounter,
    synced: IntGauge,
    failing: IntGauge,
    last_contact: Gauge,
    last_sync: Gauge,
    last_event: Gauge,
}

impl AccountMetrics {
    pub(super) fn new(registry: &Registry, retries: &IntCounterVec) -> Self {
        let help =
            "Known ServiceAccounts, by where their role comes from and whether it has the form of an ARN.";
        let known = register(registry, IntGaugeVec::new(opts("accounts", help), &["state"]));
        let help = "Changes of ServiceAccounts seen after the first list.";
        let events = counters(registry, ("watch_events_total", help), "type", &["applied", "deleted"]);
        let help = "Failures of the watch, or of reading the manifests, by what failed.";
        let failures = counters(registry, ("watch_errors_total", help), "reason", &SOURCE_FAILURES);
        ACCOUNT_STATES.iter().for_each(|state| drop(known.with_label_values(&[state])));
        let gauge = |name, help| register(registry, Gauge::with_opts(opts(name, help)));
        let lists = IntCounter::with_opts(opts("watch_lists_total", "Lists of all ServiceAccounts begun."));
        let synced = IntGauge::with_opts(opts("watch_synced", "1 once the first list is complete."));
        let help = "1 from a failure until the API server answers again, or the manifests can be read again.";
        let failing = IntGauge::with_opts(opts("watch_failing", help));
        let contact = "When the API server last took a list or watch call; 0 with manifests.";
        Self {
            mapping: MappingMetrics::new(registry, retries),
            container_credentials: ContainerCredentialsMetrics::new(registry),
            retries: retries.clone(),
            known,
            applied: events.with_label_values(&["applied"]),
            deleted: events.with_label_values(&["deleted"]),
            failures,
            lists: register(registry, lists),
            synced: register(registry, synced),
            failing: register(registry, failing),
            last_contact: gauge("watch_last_contact_timestamp_seconds", contact),
            last_sync: gauge("watch_last_sync_timestamp_seconds", "When the last list was completed."),
            last_event: gauge("watch_last_event_timestamp_seconds", "When the last change was seen."),
        }
    }

    /// Counts a list begun.
    pub fn list_begun(&self) {
        self.lists.inc();
    }

    /// Notes that the API server took a call. A watch call lasts a minute, so a watch that works says so once a
    /// minute, whether or not any account changes.
    pub fn contact(&self) {
        self.last_contact.set(now());
        self.failing.set(0);
    }

    /// Counts a list completed.
    pub fn list_ended(&self) {
        self.synced.set(1);
        self.failing.set(0);
        self.last_sync.set(now());
    }

    /// Counts an account added or changed.
    pub fn applied(&self) {
        self.applied.inc();
        self.last_event.set(now());
    }

    /// Counts an account deleted.
    pub fn deleted(&self) {
        self.deleted.inc();
        self.last_event.set(now());
    }

    /// Takes how many accounts are known in each state.
    pub fn known<L: Label>(&self, counts: impl IntoIterator<Item = (L, usize)>) {
        for (state, count) in counts {
            self.known.with_label_values(&[state.label()]).set(count as i64);
        }
    }

    /// Counts a failure.
    pub fn failed(&self, failure: impl Label) {
        self.failures.with_label_values(&[failure.label()]).inc();
        self.failing.set(1);
    }
}
