//! A watch call: its events, and whether it works.

use std::time::Duration;

use bytes::BytesMut;
use kube::core::WatchEvent;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::{
    call::CallError,
    documents::{Documents, Lines},
};

/// How long one watch call lasts.
pub(super) const WATCH_SECONDS: u64 = 60;

/// A watch that has lasted so long works. One that ends sooner, even without an error, is a failure.
const STABLE: Duration = Duration::from_secs(5);

/// A watch on which nothing arrives for so long is dead: the API server ends each after `WATCH_SECONDS`.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 5);

/// A watch call that the API server has taken.
pub struct Watch {
    events: Documents<Lines>,
    begun: Instant,
    /// When the last event arrived, or the watch began.
    heard: Instant,
    is_stable: bool,
}

/// An event that says something of an object.
pub enum Event<K> {
    /// It exists: it was created or changed, or belongs to the initial state.
    Applied(K),
    /// It was deleted. This is its last state.
    Deleted(K),
    /// Nothing happened up to this version.
    Bookmark(String),
}

/// How a watch goes on.
pub enum Progress<E> {
    /// An event arrived.
    Event(E),
    /// The watch has lasted long enough to work. Said once.
    Stable,
    /// The API server ended the watch in time.
    Ended,
}

impl Watch {
    pub(super) fn of(events: Documents<Lines>) -> Self {
        let now = Instant::now();
        Self { events, begun: now, heard: now, is_stable: false }
    }

    /// The next event, as it arrived. May be dropped while it waits, and called again.
    pub async fn next(&mut self) -> Result<Progress<BytesMut>, CallError> {
        let stable = self.begun + STABLE;
        // Events that follow each other without a pause leave no time for the timeout below.
        if !self.is_stable && Instant::now() >= stable {
            self.is_stable = true;
            return Ok(Progress::Stable);
        }
        let deadline = if self.is_stable { self.heard + SILENCE } else { stable };
        match timeout_at(deadline, self.events.next()).await {
            Ok(event) => match event? {
                Some(event) => {
                    self.heard = Instant::now();
                    Ok(Progress::Event(event))
                }
                None if self.is_stable => Ok(Progress::Ended),
                None => Err(CallError::EndedEarly(self.begun.elapsed())),
            },
            Err(_) if self.is_stable => Err(CallError::Silent(SILENCE)),
            Err(_) => {
                self.is_stable = true;
                Ok(Progress::Stable)
            }
        }
    }

    /// The next event, decoded.
    pub async fn next_of<K: DeserializeOwned>(&mut self) -> Result<Progress<Event<K>>, CallError> {
        self.next().await?.decode(|json| match serde_json::from_slice(json)? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(Event::Applied(object)),
            WatchEvent::Deleted(object) => Ok(Event::Deleted(object)),
            WatchEvent::Bookmark(bookmark) => Ok(Event::Bookmark(bookmark.metadata.resource_version)),
            WatchEvent::Error(status) => Err(CallError::of_event(status.code, status.message)),
        })
    }

    /// Whether the watch has lasted long enough to work.
    pub fn is_stable(&self) -> bool {
        self.is_stable
    }
}

impl Progress<BytesMut> {
    /// Decodes the event.
    pub fn decode<E>(
        self,
        decode: impl FnOnce(&[u8]) -> Result<E, CallError>,
    ) -> Result<Progress<E>, CallError> {
        Ok(match self {
            Self::Event(event) => Progress::Event(decode(&event)?),
            Self::Stable => Progress::Stable,
            Self::Ended => Progress::Ended,
        })
    }
}
