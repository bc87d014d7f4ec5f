//! How all accounts are read: as the initial events of a watch, or as a list in pages.
//!
//! Streaming is faster, and costs the API server less. Kubernetes has it on in 1.32 and since 1.34. Older API servers refuse
//! the call. Something between us and the API server may drop the parameters: then the accounts arrive, but not the bookmark
//! that says that these are all.

use std::time::Duration;

use hyper::StatusCode;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::{
    super::{SourceFailure, event::Event, service_accounts::Events},
    Watch,
};
use crate::{
    accounts::cache::Writer,
    kube::{call::CallError, collection::WatchFrom, watch::Progress},
};

/// The initial events follow each other closely. After a pause this long, no bookmark will follow.
const PAUSE_IN_STREAM: Duration = Duration::from_secs(3);

/// How the next sync reads the accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Way {
    /// By streaming.
    #[default]
    Stream,
    /// In pages, this time: streaming has just failed.
    PagesOnce,
    /// In pages: the API server does not stream.
    Pages,
}

/// All accounts are known.
pub(super) struct Synced {
    /// The version that they are of.
    pub(super) version: String,
    /// The watch from there, if it has begun.
    pub(super) events: Option<Events>,
}

/// The result of a stream of initial events.
enum Streamed {
    /// It is complete.
    Complete(Synced),
    /// The API server does not stream, for this reason.
    Unsupported(&'static str),
}

impl Watch {
    /// Reads all accounts; `None` if that failed, after a pause, and is to be tried again.
    pub(super) async fn sync(&mut self) -> Option<Synced> {
        let (way, begun) = (self.way, Instant::now());
        let synced = match way {
            Way::Stream => match self.stream().await {
                Ok(Streamed::Complete(synced)) => Ok(synced),
                Ok(Streamed::Unsupported(reason)) => {
                    info!(reason, "the API server does not stream ServiceAccounts; they are listed in pages");
                    self.way = Way::Pages;
                    return None;
                }
                Err(error) => {
                    self.way = Way::PagesOnce;
                    Err(error)
                }
            },
            Way::PagesOnce | Way::Pages => {
                if way == Way::PagesOnce {
                    self.way = Way::Stream;
                }
                self.list().await
            }
        };
        match synced {
            Ok(synced) => {
                self.synced(begun);
                Some(synced)
            }
            Err(error) => {
                self.pause_after(SourceFailure::List, &error).await;
                None
            }
        }
    }

    async fn stream(&mut self) -> Result<Streamed, CallError> {
        let accounts = self.accounts.clone();
        let mut events = match self.meanwhile(accounts.watch(WatchFrom::InitialEvents)).await {
            Ok(events) => events,
            Err(error) if is_unsupported(&error) => return Ok(Streamed::Unsupported("it refuses the call")),
            Err(error) => return Err(error),
        };
        self.begin();
        let begun = Instant::now();
        let mut deadline = begun + PAUSE_IN_STREAM;
        loop {
            let next = self.meanwhile(timeout_at(deadline, events.next())).await;
            let Ok(progress) = next else {
                return Ok(Streamed::Unsupported("it does not say when all have been sent"));
            };
            match progress? {
                Progress::Event(Event::Applied(account)) => {
                    self.put(&account, Writer::listed);
                    deadline = Instant::now() + PAUSE_IN_STREAM;
                }
                Progress::Event(Event::Deleted(account)) => self.delete(&account),
                Progress::Event(Event::Bookmark { version, ends_initial_events: true }) => {
                    return Ok(Streamed::Complete(Synced { version, events: Some(events) }));
                }
                Progress::Event(Event::Bookmark { .. }) | Progress::Stable => {}
                Progress::Event(Event::Error { code, message }) => {
                    return Err(CallError::of_event(code, message));
                }
                Progress::Ended => return Err(CallError::EndedEarly(begun.elapsed())),
            }
        }
    }

    async fn list(&mut self) -> Result<Synced, CallError> {
        let accounts = self.accounts.clone();
        let mut listed = self.meanwhile(accounts.list()).await?;
        self.begin();
        while let Some(account) = self.meanwhile(listed.next()).await? {
            self.put(&account, Writer::listed);
        }
        match listed.version() {
            "" => Err(CallError::Unreadable("a list without a resourceVersion".to_owned())),
            version => Ok(Synced { version: version.to_owned(), events: None }),
        }
    }

    fn begin(&mut self) {
        self.writer.begin_list();
        if !self.backoff.is_retrying() {
            info!("listing ServiceAccounts");
        }
    }
}

/// Whether the API server does not know the parameters of the call: it refuses them as invalid.
fn is_unsupported(error: &CallError) -> bool {
    matches!(error.code(), Some(StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY))
}
