//! Namespaces as metadata: listed at once, and watched.

use std::collections::{BTreeMap, VecDeque};

use hyper::{Request, Response, StatusCode, body::Incoming};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{ApiServer, Body, State, WatchFrame, failure, streamed, whole};

#[derive(Default)]
pub(super) struct Namespaces {
    /// By name: revision and annotations.
    by_name: BTreeMap<String, (u64, Value)>,
    events: Vec<(u64, String)>,
    watchers: Vec<mpsc::UnboundedSender<WatchFrame>>,
    /// What the next calls are answered with.
    statuses: VecDeque<u16>,
    lists: usize,
}

impl ApiServer {
    /// Creates or changes a Namespace, and sends the event to the watches.
    pub(crate) fn apply_namespace(&self, name: &str, annotations: Value) {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        let old = state.namespaces.by_name.insert(name.to_owned(), (revision, annotations));
        state.namespaces.publish(if old.is_some() { "MODIFIED" } else { "ADDED" }, name, revision);
    }

    /// Deletes a Namespace, and sends the event to the watches.
    pub(crate) fn delete_namespace(&self, name: &str) {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        state.namespaces.publish("DELETED", name, revision);
        state.namespaces.by_name.remove(name);
    }

    /// What the next lists and watches of Namespaces are answered with.
    pub(crate) fn fail_namespaces(&self, statuses: &[u16]) {
        self.state().namespaces.statuses.extend(statuses);
    }

    /// Breaks the watches of Namespaces.
    pub(crate) fn break_namespace_watches(&self) {
        for watcher in self.state().namespaces.watchers.drain(..) {
            watcher.send(WatchFrame::Abort).ok();
        }
    }

    /// How often Namespaces were listed.
    pub(crate) fn namespace_lists(&self) -> usize {
        self.state().namespaces.lists
    }
}

impl Namespaces {
    fn publish(&mut self, kind: &str, name: &str, revision: u64) {
        let annotations = &self.by_name[name].1;
        let event = json!({"type": kind, "object": object(name, revision, annotations)}).to_string();
        self.watchers.retain(|watcher| watcher.send(WatchFrame::Line(event.clone())).is_ok());
        self.events.push((revision, event));
    }
}

pub(super) fn respond(state: &mut State, request: &Request<Incoming>) -> Response<Body> {
    let query = request.uri().query().unwrap_or_default();
    let accept = request.headers().get("accept").map_or("", |value| value.to_str().unwrap());
    if !accept.contains("PartialObjectMetadata") {
        state.asked_for_whole_objects += 1;
    }
    let revision = state.revision;
    let namespaces = &mut state.namespaces;
    if let Some(status) = namespaces.statuses.pop_front().filter(|status| *status != 200) {
        return failure(status);
    }
    if !query.contains("watch=true") {
        namespaces.lists += 1;
        let items = namespaces
            .by_name
            .iter()
            .map(|(name, (revision, annotations))| object(name, *revision, annotations));
        let list = json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": revision.to_string()}, "items": items.collect::<Vec<_>>()});
        return whole(StatusCode::OK, &list);
    }
    let since = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion=")).unwrap();
    let since: u64 = since.parse().unwrap();
    let (sender, receiver) = mpsc::unbounded_channel();
    for (_, event) in namespaces.events.iter().filter(|(revision, _)| *revision > since) {
        sender.send(WatchFrame::Line(event.clone())).unwrap();
    }
    namespaces.watchers.push(sender);
    streamed(receiver)
}

fn object(name: &str, revision: u64, annotations: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": {"name": name, "resourceVersion": revision.to_string(), "annotations": annotations}})
}
