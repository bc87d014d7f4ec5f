//! The cluster's ServiceAccounts, as metadata only: listed in pages, or watched.

use kube::Client;

use super::event::{self, AccountMeta, Event};
use crate::{
    injection::annotation_keys::AnnotationKeys,
    kube::{
        call::CallError,
        collection::{Collection, Form, Items, WatchFrom},
        watch::{Progress, Watch},
    },
};

/// The ServiceAccounts of a namespace, or all of them.
#[derive(Clone)]
pub(super) struct ServiceAccounts {
    collection: Collection,
    keys: AnnotationKeys,
}

impl ServiceAccounts {
    pub(super) fn new(client: Client, namespace: Option<&str>, keys: AnnotationKeys) -> Self {
        let path = match namespace {
            None => "/api/v1/serviceaccounts".to_owned(),
            Some(namespace) => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
        };
        let collection = Collection { client, path, selector: String::new(), form: Form::Metadata };
        Self { collection, keys }
    }

    pub(super) async fn watch(&self, from: WatchFrom<'_>) -> Result<Events, CallError> {
        Ok(Events { watch: self.collection.watch(from).await?, keys: self.keys.clone() })
    }

    pub(super) async fn list(&self) -> Result<Accounts, CallError> {
        Ok(Accounts { items: self.collection.list().await?, keys: self.keys.clone() })
    }
}

/// The events of a watch.
pub(super) struct Events {
    watch: Watch,
    keys: AnnotationKeys,
}

impl Events {
    /// The next event. May be dropped while it waits, and called again.
    pub(super) async fn next(&mut self) -> Result<Progress<Event>, CallError> {
        self.watch.next().await?.decode(|json| Ok(event::event(json, &self.keys)?))
    }

    /// Whether the watch has lasted long enough to work.
    pub(super) fn is_stable(&self) -> bool {
        self.watch.is_stable()
    }
}

/// The accounts of a list.
pub(super) struct Accounts {
    items: Items,
    keys: AnnotationKeys,
}

impl Accounts {
    /// The next account; `None` after the last. May be dropped while it waits, and called again.
    pub(super) async fn next(&mut self) -> Result<Option<AccountMeta>, CallError> {
        let Some(item) = self.items.next().await? else { return Ok(None) };
        Ok(Some(event::account(&item, &self.keys)?))
    }

    /// The version to watch from, once the last account has been read.
    pub(super) fn version(&self) -> &str {
        self.items.version()
    }
}
