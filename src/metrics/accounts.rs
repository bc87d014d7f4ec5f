//! What is counted of the accounts and where they come from.

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};

use super::{IdentityMetrics, MappingMetrics, now, opts, register};

/// What can fail where accounts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFailure {
    /// Listing the accounts.
    List,
    /// Starting to watch them.
    WatchStart,
    /// The watch: the API server said so in an event.
    WatchEvent,
    /// The watch: its connection broke, or what came could not be read.
    WatchStream,
    /// An object without a resourceVersion.
    NoResourceVersion,
    /// Reading changed manifests.
    Manifests,
}

impl SourceFailure {
    const ALL: [Self; 6] = [
        Self::List,
        Self::WatchStart,
        Self::WatchEvent,
        Self::WatchStream,
        Self::NoResourceVersion,
        Self::Manifests,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::WatchStart => "watch_start",
            Self::WatchEvent => "watch_event",
            Self::WatchStream => "watch_stream",
            Self::NoResourceVersion => "no_resource_version",
            Self::Manifests => "manifests",
        }
    }
}

/// How many accounts are known, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCount {
    /// Accounts with a role of their own.
    pub annotated: usize,
    /// Accounts with a role of the mapping.
    pub mapped: usize,
    /// Accounts whose role is no ARN.
    pub malformed: usize,
    /// Accounts with container credentials.
    pub contained: usize,
    /// Accounts without any of it.
    pub unannotated: usize,
}

/// What is counted of the accounts.
#[derive(Clone, Debug)]
pub struct AccountMetrics {
    /// Of the role mapping.
    pub mapping: MappingMetrics,
    /// Of the file of container credentials.
    pub identities: IdentityMetrics,
    annotated: IntGauge,
    contained: IntGauge,
    mapped: IntGauge,
    malformed: IntGauge,
    unannotated: IntGauge,
    applied: IntCounter,
    deleted: IntCounter,
    failures: [IntCounter; SourceFailure::ALL.len()],
    lists: IntCounter,
    synced: IntGauge,
    failing: IntGauge,
    last_contact: Gauge,
    last_sync: Gauge,
    last_event: Gauge,
}

impl AccountMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Known ServiceAccounts, by whether they have a role and whence, and whether it has the form of an ARN.";
        let accounts = register(registry, IntGaugeVec::new(opts("accounts", help), &["state"]));
        let help = "Changes of ServiceAccounts seen after the first list.";
        let events = register(registry, IntCounterVec::new(opts("watch_events_total", help), &["type"]));
        let help = "Failures of the watch, or of reading the manifests, by what failed.";
        let errors = register(registry, IntCounterVec::new(opts("watch_errors_total", help), &["reason"]));
        let gauge = |name, help| register(registry, Gauge::with_opts(opts(name, help)));
        let lists = IntCounter::with_opts(opts("watch_lists_total", "Lists of all ServiceAccounts begun."));
        let synced = IntGauge::with_opts(opts("watch_synced", "1 once the first list is complete."));
        let help = "1 from a failure until the API server answers again, or the manifests can be read again.";
        let failing = IntGauge::with_opts(opts("watch_failing", help));
        let contact = "When the API server last took a list or watch call; 0 with manifests.";
        Self {
            mapping: MappingMetrics::new(registry),
            identities: IdentityMetrics::new(registry),
            annotated: accounts.with_label_values(&["annotated"]),
            contained: accounts.with_label_values(&["container_credentials"]),
            mapped: accounts.with_label_values(&["mapped"]),
            malformed: accounts.with_label_values(&["malformed"]),
            unannotated: accounts.with_label_values(&["unannotated"]),
            applied: events.with_label_values(&["applied"]),
            deleted: events.with_label_values(&["deleted"]),
            failures: SourceFailure::ALL.map(|failure| errors.with_label_values(&[failure.as_str()])),
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

    /// Tells how many accounts are known.
    pub fn known(&self, count: AccountCount) {
        let AccountCount { annotated, mapped, malformed, contained, unannotated } = count;
        self.annotated.set(annotated as i64);
        self.mapped.set(mapped as i64);
        self.malformed.set(malformed as i64);
        self.contained.set(contained as i64);
        self.unannotated.set(unannotated as i64);
    }

    /// Counts a failure.
    pub fn failed(&self, failure: SourceFailure) {
        self.failures[failure as usize].inc();
        self.failing.set(1);
    }
}
