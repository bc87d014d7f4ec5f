//! Watches the Namespaces, as metadata only.

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use kube::Client;
use prometheus::IntCounterVec;
use serde::Deserialize;
use tokio::{sync::watch, time::sleep};
use tracing::info;

use super::{Namespaces, annotation};
use crate::{
    accounts::assignments::News,
    injection::settings::AnnotationPrefix,
    kube::{
        backoff::{Backoff, Failure},
        call::CallError,
        collection::{Collection, Form, WatchFrom},
        watch::{Event, Progress},
    },
    lifecycle::NotReadyReason,
};

/// What the program's ClusterRole has to allow.
const RULE: &str = "give its ClusterRole {apiGroups: [\"\"], resources: [namespaces], verbs: [list, watch]}";

/// The longest pause between two tries, as for the accounts.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// Follows the Namespaces, and publishes them when a list of permitted roles changes, or a Namespace comes or goes.
#[derive(Debug)]
pub struct NamespaceWatch {
    annotation: String,
    known: Namespaces,
    published: watch::Sender<Option<Arc<Namespaces>>>,
    reason: watch::Sender<Option<&'static str>>,
    backoff: Backoff,
}

impl NamespaceWatch {
    /// A watch that has not begun.
    pub fn new(prefix: &AnnotationPrefix, retries: IntCounterVec) -> Self {
        Self {
            annotation: annotation(prefix),
            known: Namespaces::default(),
            published: watch::Sender::default(),
            reason: watch::Sender::new(Some("the Namespaces have not been listed yet")),
            backoff: Backoff::new("watch Namespaces", MAX_PAUSE, retries),
        }
    }

    /// The Namespaces as they come.
    pub fn news(&self) -> News<Namespaces> {
        self.published.subscribe()
    }

    /// Why they have not come yet.
    pub fn not_ready_reason(&self) -> NotReadyReason {
        self.reason.subscribe()
    }

    /// Follows them forever. While that fails, the last known Namespaces count.
    pub async fn follow(mut self, client: Client) {
        let collection = collection(client);
        loop {
            let Err(error) = self.list_and_watch(&collection).await;
            let is_known = self.published.borrow().is_some();
            let effect = if is_known { "known namespaces keep their roles" } else { "not ready" };
            let remedy = error.missing_right(RULE);
            let pause =
                self.backoff.failed(&Failure { operation: "namespace_watch", error: &error, effect, remedy });
            sleep(pause).await;
        }
    }

    async fn list_and_watch(&mut self, collection: &Collection) -> Result<Infallible, CallError> {
        let (namespaces, mut version) = list(collection, &self.annotation).await?;
        if self.published.borrow().is_none() || namespaces != self.known {
            self.known = namespaces;
            self.publish();
        }
        loop {
            self.watch(collection, &mut version).await?;
        }
    }

    /// Watches until the API server ends the watch in time.
    async fn watch(&mut self, collection: &Collection, version: &mut String) -> Result<(), CallError> {
        let mut events = collection.watch(WatchFrom::Version(version)).await?;
        loop {
            match events.next_of().await? {
                Progress::Event(event) => *version = self.take(event),
                Progress::Stable => self.backoff.succeeded(),
                Progress::Ended => return Ok(()),
            }
        }
    }

    /// Takes an event; returns its version.
    fn take(&mut self, event: Event<Namespace>) -> String {
        let (version, is_news) = match event {
            Event::Applied(Namespace { metadata }) => {
                let is_news = self.known.insert(&metadata.name, metadata.value(&self.annotation));
                (metadata.resource_version, is_news)
            }
            Event::Deleted(Namespace { metadata }) => {
                (metadata.resource_version, self.known.remove(&metadata.name))
            }
            Event::Bookmark(version) => (version, false),
        };
        if is_news {
            self.publish();
        }
        version
    }

    fn publish(&self) {
        self.published.send_replace(Some(Arc::new(self.known.clone())));
        if self.reason.send_replace(None).is_some() {
            info!(namespaces = self.known.len(), "listed Namespaces");
        }
    }
}

/// Reads the Namespaces once.
pub async fn read_all(client: Client, prefix: &AnnotationPrefix) -> Result<Namespaces, CallError> {
    let (namespaces, _) = list(&collection(client), &annotation(prefix)).await?;
    Ok(namespaces)
}

fn collection(client: Client) -> Collection {
    let path = "/api/v1/namespaces".to_owned();
    Collection { client, path, selector: String::new(), form: Form::Metadata }
}

/// Lists the Namespaces; returns them with their version.
async fn list(collection: &Collection, annotation: &str) -> Result<(Namespaces, String), CallError> {
    let mut listed = collection.list().await?;
    let mut namespaces = Namespaces::default();
    while let Some(namespace) = listed.next().await? {
        let Namespace { metadata } = serde_json::from_slice(&namespace)?;
        namespaces.insert(&metadata.name, metadata.value(annotation));
    }
    Ok((namespaces, listed.version().to_owned()))
}

#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    name: String,
    resource_version: String,
    annotations: Option<HashMap<String, String>>,
}

impl Metadata {
    fn value(&self, key: &str) -> Option<&str> {
        Some(self.annotations.as_ref()?.get(key)?)
    }
}
