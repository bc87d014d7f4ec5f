//! ServiceAccounts from the cluster: a watch that outlives whatever happens to the API server.
//!
//! Only metadata is asked for, and each account is resolved at once. While the API server is away the
//! cache goes on serving what it has.

use std::time::{Duration, Instant};

use futures::StreamExt;
use hyper::Response;
use kube::{
    Api, Client, Resource,
    runtime::watcher::{self, Event, watcher},
};
use tokio::time::sleep;
use tower::util::MapResponseLayer;
use tracing::{info, warn};

use super::{SourceFailure, metadata::AccountMeta, reassign};
use crate::{
    accounts::{
        assignments::{Assignments, Change},
        cache::{State, Writer},
    },
    injection::account::Account,
    kube::{backoff::Failures, client::Target, root_cause::root_cause},
    metrics::AccountMetrics,
};

/// How long one watch call lasts; kube adds 5 s to notice a connection that died without a word.
const WATCH_SECONDS: u32 = 60;

/// How many accounts are asked for at once. A page is in memory whole, as text and decoded.
const PAGE: u32 = 200;

/// How long the API server may be silent within an answer. Longer than a watch call, which ends by itself.
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// After so many failures in a row the watch is given up and everything is listed anew.
const MAX_FAILURES: u32 = 5;

/// The longest pause between two tries. An API server that comes back must not find us asleep for long, since every
/// new account's first pod waits for the watch: two pauses, the second after a watch that could not go on from where it
/// was, fit into the 5 s that it is waited for.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// After so long without a failure the next one is the first. Some proxies cut a watch off every minute or less, which
/// is no reason to list anew.
const FORGET_FAILURES: Duration = Duration::from_secs(20);

/// Gives a client's configuration what this watch needs: limits by which a dead connection is noticed, and no retries
/// within the client, which would be neither counted nor logged.
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

/// Follows the cluster's ServiceAccounts for ever. Waits until what accounts are assigned is known.
pub async fn follow(client: Client, mut assignments: Assignments, writer: Writer) {
    let accounts: Api<AccountMeta> = Api::all(client);
    assignments.ready().await;
    let mut watch = Watch { assignments, writer, list_begun: Instant::now(), failures: WatchFailures::new() };
    loop {
        watch.until_relist(accounts.clone()).await;
    }
}

struct Watch {
    assignments: Assignments,
    writer: Writer,
    list_begun: Instant,
    failures: WatchFailures,
}

impl Watch {
    /// Lists and watches until only a new list can help.
    async fn until_relist(&mut self, accounts: Api<AccountMeta>) {
        let config = watcher::Config::default().timeout(WATCH_SECONDS).page_size(PAGE);
        let mut events = std::pin::pin!(watcher(accounts, config));
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                change = self.assignments.changed() => {
                    self.reassign(&change);
                    continue;
                }
            };
            let Some(event) = event else { return };
            match event {
                Ok(event) => self.take(event),
                Err(error) => {
                    let (failure, needs_list) = classify(&error);
                    self.writer.metrics().failed(failure);
                    let pause = self.failures.next(&error, self.writer.is_synced());
                    sleep(pause).await;
                    if needs_list || self.failures.in_a_row() >= MAX_FAILURES {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, event: Event<AccountMeta>) {
        match event {
            Event::Init => {
                self.list_begun = Instant::now();
                self.writer.begin_list();
                if self.failures.in_a_row() == 0 {
                    info!("listing ServiceAccounts");
                }
            }
            Event::InitApply(meta) => self.with_account(&meta, Writer::listed),
            Event::InitDone => {
                self.writer.end_list();
                self.assignments.retain(|namespace, name| self.writer.knows(namespace, name));
                self.failures.listed();
                let count = self.writer.count();
                info!(
                    annotated = count.get(State::Annotated),
                    mapped = count.get(State::Mapped),
                    container_credentials = count.get(State::ContainerCredentials),
                    malformed = count.get(State::Malformed),
                    unannotated = count.get(State::Unannotated),
                    seconds = self.list_begun.elapsed().as_secs_f64(),
                    "synced ServiceAccounts from the cluster"
                );
            }
            Event::Apply(meta) => {
                self.with_account(&meta, Writer::applied);
                self.failures.watched();
            }
            Event::Delete(meta) => {
                if let Some((namespace, name)) = names(&meta) {
                    self.writer.deleted(namespace, name);
                    self.assignments.forget(namespace, name);
                }
                self.failures.watched();
            }
        }
    }

    fn with_account(&mut self, meta: &AccountMeta, write: fn(&mut Writer, &str, &str, Account)) {
        if let Some((namespace, name)) = names(meta) {
            let annotations = meta.meta().annotations.iter().flatten();
            let annotations = annotations.map(|(key, value)| (&**key, &**value));
            let account = self.assignments.resolve(namespace, name, annotations);
            write(&mut self.writer, namespace, name, account);
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

fn names(meta: &AccountMeta) -> Option<(&str, &str)> {
    Some((meta.meta().namespace.as_deref()?, meta.meta().name.as_deref()?))
}

/// What failed, and whether going on from where the watch was would lose or never find something.
///
/// kube lists anew by itself when a watch *event* says 410. It does not when the call that starts the watch is
/// answered with 410, nor after an event that it could not decode, whose change would be lost.
fn classify(error: &watcher::Error) -> (SourceFailure, bool) {
    use kube::Error::{Api, SerdeError};
    match error {
        watcher::Error::InitialListFailed(_) => (SourceFailure::List, false),
        watcher::Error::WatchStartFailed(error) => {
            (SourceFailure::WatchStart, matches!(error, Api(status) if status.code == 410))
        }
        watcher::Error::WatchError(_) => (SourceFailure::WatchEvent, false),
        watcher::Error::WatchFailed(error) => {
            (SourceFailure::WatchStream, matches!(error, SerdeError(_) | Api(_)))
        }
        watcher::Error::NoResourceVersion => (SourceFailure::NoResourceVersion, false),
    }
}

/// Failures in a row, which are forgotten after a while.
struct WatchFailures {
    failures: Failures,
    last: Instant,
}

impl WatchFailures {
    fn new() -> Self {
        Self { failures: Failures::new(MAX_PAUSE), last: Instant::now() }
    }

    /// Logs a failure and tells how long to pause.
    fn next(&mut self, error: &watcher::Error, is_synced: bool) -> Duration {
        if self.last.elapsed() > FORGET_FAILURES {
            self.failures = Failures::new(MAX_PAUSE);
        }
        self.last = Instant::now();
        let (told, pause) = self.failures.another();
        if let Some(failures) = told {
            warn!(
                %error,
                cause = %root_cause(error),
                failures,
                effect = if is_synced { "known accounts are still served" } else { "not ready" },
                "can't watch ServiceAccounts"
            );
        }
        pause
    }

    fn in_a_row(&self) -> u32 {
        self.failures.in_a_row()
    }

    /// A list was completed. Pauses stay long: who may list but not watch is not to list without a rest.
    fn listed(&mut self) {
        self.failures.recount();
    }

    /// The watch brought news.
    fn watched(&mut self) {
        if let Some(failures) = self.failures.over() {
            info!(failures, "watching ServiceAccounts again");
        }
    }
}
