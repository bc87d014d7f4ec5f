//! Where ServiceAccounts come from: a cluster's watch, or manifests on disk.

mod event;
pub mod manifests;
mod service_accounts;
pub mod watch;

use super::{
    assignments::{Assignments, Change},
    cache::Writer,
};
use crate::metrics::Label;

/// A failure of a source of accounts.
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
    /// The watch: it ended right after it began, without an error.
    WatchEnded,
    /// An object without a resourceVersion.
    NoResourceVersion,
    /// Reading changed manifests.
    Manifests,
}

impl Label for SourceFailure {
    const ALL: &[Self] = &[
        Self::List,
        Self::WatchStart,
        Self::WatchEvent,
        Self::WatchStream,
        Self::WatchEnded,
        Self::NoResourceVersion,
        Self::Manifests,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::WatchStart => "watch_start",
            Self::WatchEvent => "watch_event",
            Self::WatchStream => "watch_stream",
            Self::WatchEnded => "watch_ended",
            Self::NoResourceVersion => "no_resource_version",
            Self::Manifests => "manifests",
        }
    }
}

/// Gives known accounts what they are given after a change, and returns how many changed.
fn reassign(change: &Change, assignments: &Assignments, writer: &mut Writer) -> usize {
    match change {
        Change::All => {
            writer.reassign_all(|namespace, name, known| assignments.resolve_again(namespace, name, known))
        }
        Change::Namespaces(namespaces) => {
            writer.reassign_all(|namespace, name, known| match namespaces.contains(namespace) {
                true => assignments.resolve_again(namespace, name, known),
                false => known.cloned(),
            })
        }
        Change::Accounts(accounts) => {
            let mut changed = 0;
            for (namespace, name) in accounts {
                let resolve = |known: Option<&_>| assignments.resolve_again(namespace, name, known);
                changed += usize::from(writer.reassign(namespace, name, resolve));
            }
            changed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{SOURCE_FAILURES, labels};

    #[test]
    fn every_failure_has_its_series() {
        assert_eq!(labels::<SourceFailure>(), SOURCE_FAILURES);
    }
}
