//! ServiceAccounts as metadata: listed in pages, and watched.

use std::{
    io,
    ops::Bound::{Excluded, Unbounded},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use super::{Body, Response, State, StatusCode, WatchFrame, failure, status, streamed, whole};

/// What a server does when a watch asks for initial events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum InitialEvents {
    /// It sends them, and the bookmark that ends them.
    #[default]
    Streamed,
    /// It refuses the call, as kube-apiserver does where WatchList is off.
    Refused,
    /// It does not know the parameter: it sends what there is, as for every watch without a version, and no such bookmark.
    Ignored,
}

/// So many initial events are sent while pages are held back, as many as the first page has.
const FIRST_EVENTS: usize = 50;

/// About as many events are 1 KiB.
const EVENTS_OF_A_PIECE: usize = 4;

/// The body of `PartialObjectMetadata`.
pub(super) fn object(namespace: &str, name: &str, revision: u64, annotations: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": format!("{namespace}-{name}"),
            "resourceVersion": revision.to_string(),
            "annotations": annotations,
        },
    })
}

/// A page of accounts, of all namespaces or one: those after the one that the last page ended with, as `namespace.name`.
pub(super) fn list(
    state: &mut State,
    of: Option<&str>,
    after: Option<String>,
    limit: usize,
) -> Response<Body> {
    state.lists += usize::from(after.is_none());
    state.pages += 1;
    match state.list_statuses.pop_front() {
        None | Some(200) => {}
        Some(status) => return failure(status),
    }
    let after = after.as_ref().map(|after| after.split_once('.').unwrap());
    let after = after.map(|(namespace, name)| (namespace.to_owned(), name.to_owned()));
    let rest = state.accounts.range((after.map_or(Unbounded, Excluded), Unbounded));
    let mut rest = rest.filter(|((namespace, _), _)| of.is_none_or(|of| namespace == of));
    let items = rest
        .by_ref()
        .take(limit)
        .map(|((namespace, name), (revision, annotations))| object(namespace, name, *revision, annotations));
    let items: Vec<_> = items.collect();
    let last = items.last().filter(|_| rest.next().is_some()).map(|item| &item["metadata"]);
    let next =
        last.map(|last| [&last["namespace"], &last["name"]].map(|part| part.as_str().unwrap()).join("."));
    let list = json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": state.revision.to_string(), "continue": next.unwrap_or_default()},
        "items": items,
    });
    match state.trickle {
        None => whole(StatusCode::OK, &list),
        Some(pause) => trickled(&list, pause),
    }
}

/// A watch that begins after a version.
pub(super) fn watch(state: &Mutex<State>, since: u64) -> Response<Body> {
    let mut state = state.lock().unwrap();
    state.watches += 1;
    match state.watch_statuses.pop_front() {
        None | Some(200) => {}
        Some(status) => return failure(status),
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    if since < state.compacted {
        let gone = json!({"type": "ERROR", "object": status(410)});
        sender.send(WatchFrame::Line(gone.to_string())).unwrap();
    } else {
        for (_, event) in state.events.iter().filter(|(revision, _)| *revision > since) {
            sender.send(WatchFrame::Line(event.clone())).unwrap();
        }
        if !state.ends_watches_at_once {
            state.watchers.push(sender);
        }
    }
    streamed(receiver)
}

/// A watch that begins with all accounts. Changes in the meantime come before the bookmark that ends the initial events.
pub(super) fn watch_from_start(state: &Arc<Mutex<State>>, hold: watch::Receiver<bool>) -> Response<Body> {
    let mut locked = state.lock().unwrap();
    if locked.initial_events == InitialEvents::Refused {
        return failure(422);
    }
    locked.lists += 1;
    locked.pages += 1;
    locked.watches += 1;
    match locked.list_statuses.pop_front() {
        None | Some(200) => {}
        Some(status) => return failure(status),
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    if locked.ends_watches_at_once {
        return streamed(receiver);
    }
    locked.watchers.push(sender.clone());
    let begun = Initial {
        state: Arc::clone(state),
        accounts: locked.accounts.clone().into_iter().collect(),
        hold,
        sender,
    };
    Response::new(BodyExt::boxed(StreamBody::new(
        begun.pieces(locked.trickle).chain(super::frames(receiver)),
    )))
}

/// The initial events of a watch.
struct Initial {
    state: Arc<Mutex<State>>,
    accounts: Vec<((String, String), (u64, Value))>,
    hold: watch::Receiver<bool>,
    sender: mpsc::UnboundedSender<WatchFrame>,
}

impl Initial {
    fn pieces(self, pause: Option<Duration>) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
        stream::unfold((self, 0), move |(mut initial, sent)| async move {
            if sent > initial.accounts.len() {
                return None;
            }
            if sent == FIRST_EVENTS || sent == initial.accounts.len() {
                initial.hold.wait_for(|hold| !hold).await.ok();
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            if sent == initial.accounts.len() {
                return initial.end().map(|bytes| (bytes, (initial, sent + 1)));
            }
            let until = if sent < FIRST_EVENTS { FIRST_EVENTS } else { sent + EVENTS_OF_A_PIECE };
            let until = until.min(initial.accounts.len());
            let lines =
                initial.accounts[sent..until].iter().map(|((namespace, name), (revision, annotations))| {
                    let object = object(namespace, name, *revision, annotations);
                    json!({"type": "ADDED", "object": object}).to_string() + "\n"
                });
            let piece = Ok(Frame::data(Bytes::from(lines.collect::<String>())));
            Some((piece, (initial, until)))
        })
    }

    /// The status of the second page decides how the initial events end; the bookmark comes after the changes so far.
    fn end(&mut self) -> Option<io::Result<Frame<Bytes>>> {
        let mut state = self.state.lock().unwrap();
        let line = match state.list_statuses.pop_front() {
            Some(410) => json!({"type": "ERROR", "object": status(410)}).to_string(),
            Some(code) if code != 200 => return Some(Err(io::Error::other("broken on demand"))),
            _ => {
                let is_end = state.initial_events == InitialEvents::Streamed;
                let annotations =
                    if is_end { json!({"k8s.io/initial-events-end": "true"}) } else { json!(null) };
                bookmark(state.revision, &annotations)
            }
        };
        self.sender.send(WatchFrame::Line(line)).ok();
        Some(Ok(Frame::data(Bytes::new())))
    }
}

pub(super) fn bookmark(revision: u64, annotations: &Value) -> String {
    let metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null, "annotations": annotations});
    let object =
        json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
    json!({"type": "BOOKMARK", "object": object}).to_string()
}

fn trickled(body: &Value, pause: Duration) -> Response<Body> {
    let pieces: Vec<_> = body.to_string().as_bytes().chunks(1024).map(Bytes::copy_from_slice).collect();
    let frames = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok(Frame::data(piece))
    });
    Response::new(BodyExt::boxed(StreamBody::new(frames)))
}
