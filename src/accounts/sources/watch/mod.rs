//! Syncs the ServiceAccounts of the cluster, and watches them.
//!
//! Each account is reduced to what its pods are given at once. While the API server is away the cache goes on serving what it
//! has.

mod sync;

use std::{pin::pin, time::Duration};

use hyper::{Response, StatusCode};
use kube::Client;
use tokio::time::{Instant, sleep};
use tower::util::MapResponseLayer;
use tracing::info;

use self::sync::{Synced, Way};
use super::{
    SourceFailure,
    event::{AccountMeta, Event},
    reassign,
    service_accounts::{Events, ServiceAccounts},
};
use crate::{
    accounts::{
        assignments::{Assignments, Change},
        cache::{State, Writer},
    },
    injection::account::Account,
    kube::{
        backoff::{Backoff, Failure},
        call::CallError,
        client::Target,
        collection::WatchFrom,
        watch::Progress,
    },
    metrics::AccountMetrics,
};

/// How long the API server may be silent within an answer. Longer than a watch call, which ends by itself.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// After so many failures in a row the watch is given up, and everything is synced again.
const MAX_FAILURES: u32 = 5;

/// The longest pause between two tries. While the API server comes back, the first pods of new accounts wait for the watch:
/// two pauses, the second after a watch that could not go on from where it was, fit into the 5 s that it is waited for.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Adapts a client's configuration to this watch: it notices dead connections, and has no retries within the client, which
/// would be neither counted nor logged.
pub fn tuned(mut config: kube::Config) -> kube::Config {
    config.read_timeout = Some(READ_TIMEOUT);
    config.reset_reader_on_write = true;
    config.default_retry = false;
    config
}

/// A client for this watch alone: it notes when the API server takes a call, since a watch on which nothing happens
/// brings no event.
pub fn client(target: impl Into<Target>, metrics: AccountMetrics) -> kube::Result<Client> {
    let note_contact = MapResponseLayer::new(move |response: Response<_>| {
        if response.status().is_success() {
            metrics.contact();
        }
        response
    });
    Ok(target.into().builder()?.with_layer(&note_contact).build())
}

/// Follows the cluster's ServiceAccounts forever. Waits until what accounts are assigned is known.
pub async fn follow(client: Client, mut assignments: Assignments, writer: Writer) {
    assignments.ready().await;
    let mut watch = Watch {
        accounts: ServiceAccounts::new(client, None, assignments.annotation_keys()),
        way: Way::default(),
        assignments,
        backoff: Backoff::new("watch ServiceAccounts", MAX_PAUSE, writer.metrics().retries.clone()),
        writer,
    };
    loop {
        if let Some(Synced { version, events }) = watch.sync().await {
            watch.watch(version, events).await;
        }
    }
}

struct Watch {
    accounts: ServiceAccounts,
    way: Way,
    assignments: Assignments,
    writer: Writer,
    backoff: Backoff,
}

/// Why a watch ended.
enum Ended {
    /// The API server ended it in time.
    InTime,
    /// It failed.
    Failed(SourceFailure, CallError),
}

impl Watch {
    /// Watches from a version on until only a sync can help. A watch may be open already.
    async fn watch(&mut self, mut version: String, mut open: Option<Events>) {
        let mut failures = 0;
        loop {
            let before = version.clone();
            let ended = match open.take() {
                Some(events) => self.take_events(events, &mut version).await,
                None => {
                    let accounts = self.accounts.clone();
                    match self.meanwhile(accounts.watch(WatchFrom::Version(&before))).await {
                        Ok(events) => self.take_events(events, &mut version).await,
                        Err(error) => Ended::Failed(SourceFailure::WatchStart, error),
                    }
                }
            };
            let Ended::Failed(failure, error) = ended else {
                failures = 0;
                continue;
            };
            if version != before || failure == SourceFailure::WatchEnded {
                failures = 0;
            }
            failures += 1;
            self.pause_after(failure, &error).await;
            if needs_sync(failure, &error) || failures >= MAX_FAILURES {
                return;
            }
        }
    }

    /// Takes events as they come, and keeps the version up to date, until the watch ends.
    async fn take_events(&mut self, mut events: Events, version: &mut String) -> Ended {
        if events.is_stable() {
            self.backoff.succeeded();
        }
        loop {
            let event = match self.meanwhile(events.next()).await {
                Ok(Progress::Event(event)) => event,
                Ok(Progress::Stable) => {
                    self.backoff.succeeded();
                    continue;
                }
                Ok(Progress::Ended) => return Ended::InTime,
                Err(error @ CallError::EndedEarly(_)) => {
                    return Ended::Failed(SourceFailure::WatchEnded, error);
                }
                Err(error) => return Ended::Failed(SourceFailure::WatchStream, error),
            };
            match self.take(event) {
                Ok(newer) if newer.is_empty() => {
                    let error = CallError::Unreadable("an event without a resourceVersion".to_owned());
                    return Ended::Failed(SourceFailure::NoResourceVersion, error);
                }
                Ok(newer) => *version = newer,
                Err(error) => return Ended::Failed(SourceFailure::WatchEvent, error),
            }
        }
    }

    /// Takes an event; returns its version.
    fn take(&mut self, event: Event) -> Result<String, CallError> {
        match event {
            Event::Applied(account) => {
                self.put(&account, Writer::applied);
                Ok(account.version)
            }
            Event::Deleted(account) => {
                self.delete(&account);
                Ok(account.version)
            }
            Event::Bookmark { version, .. } => Ok(version),
            Event::Error { code, message } => Err(CallError::of_event(code, message)),
        }
    }

    fn put(&mut self, meta: &AccountMeta, write: fn(&mut Writer, &str, &str, Option<Account>)) {
        let account = self.assignments.resolve(&meta.namespace, &meta.name, meta.annotations());
        write(&mut self.writer, &meta.namespace, &meta.name, account);
    }

    fn delete(&mut self, meta: &AccountMeta) {
        self.writer.deleted(&meta.namespace, &meta.name);
        self.assignments.forget(&meta.namespace, &meta.name);
    }

    /// All accounts are known.
    fn synced(&mut self, begun: Instant) {
        self.writer.end_list();
        self.assignments.retain(|namespace, name| self.writer.knows(namespace, name));
        let count = self.writer.count();
        info!(
            annotated = count.get(State::Annotated),
            mapped = count.get(State::Mapped),
            container_credentials = count.get(State::ContainerCredentials),
            malformed = count.get(State::Malformed),
            unannotated = count.get(State::Unannotated),
            seconds = begun.elapsed().as_secs_f64(),
            "synced ServiceAccounts from the cluster"
        );
    }

    /// Counts and logs a failure, and pauses.
    async fn pause_after(&mut self, failure: SourceFailure, error: &CallError) {
        self.writer.metrics().failed(failure);
        let effect = if self.writer.is_synced() { "known accounts are still served" } else { "not ready" };
        let remedy = error.missing_right(
            "give the ClusterRole of the webhook {apiGroups: [\"\"], resources: [serviceaccounts], verbs: [list, watch]}",
        );
        let pause = self.backoff.failed(&Failure { operation: "account_watch", error, effect, remedy });
        self.meanwhile(sleep(pause)).await;
    }

    /// Waits for something, and follows changes of assignments in the meantime.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                change = self.assignments.changed() => self.reassign(&change),
            }
        }
    }

    fn reassign(&mut self, change: &Change) {
        let begun = Instant::now();
        let changed = reassign(change, &self.assignments, &mut self.writer);
        if self.writer.is_synced() {
            let seconds = begun.elapsed().as_secs_f64();
            let mapped = self.writer.count().get(State::Mapped);
            info!(changed, mapped, seconds, "known accounts follow the role mapping");
        }
    }
}

/// Whether to go on from where the watch was would miss a change, or fail forever: the API server has forgotten the version,
/// or sent an event that can't be read.
fn needs_sync(failure: SourceFailure, error: &CallError) -> bool {
    failure == SourceFailure::NoResourceVersion
        || matches!(error, CallError::Unreadable(_))
        || error.code() == Some(StatusCode::GONE)
}
