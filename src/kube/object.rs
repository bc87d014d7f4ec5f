//! One object of the cluster, by name: read, watched and written with no more rights than that.
//!
//! kube's watcher lists, and RBAC can't allow that for one name alone. So the object is read and then watched. When the
//! watch ends, both begin again.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use kube::{Client, client::Body};
use serde_json::Value;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::{
    call::{CALL_TIMEOUT, CallError, refuse_errors},
    clock::Clock,
    collection::{Collection, Form, WatchFrom},
    watch::{Event, Progress},
};

/// A get and a watch take at least this long together: a watch may end soon after it has lasted long enough to work.
const SHORTEST_ROUND: Duration = Duration::from_secs(1);

/// By this name the API server records what is changed here, in `metadata.managedFields`.
const FIELD_MANAGER: &str = "eks-pod-identity-webhook";

/// The last known state of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Observed {
    /// Nothing yet.
    #[default]
    Unread,
    /// That it does not exist.
    Absent,
    /// All of it.
    Present(Value),
}

impl Observed {
    /// The object, if it is there.
    pub fn object(&self) -> Option<&Value> {
        match self {
            Self::Present(object) => Some(object),
            Self::Unread | Self::Absent => None,
        }
    }

    /// Its resourceVersion.
    pub fn version(&self) -> Option<&str> {
        self.object()?["metadata"]["resourceVersion"].as_str()
    }
}

/// The name of an object, and the client that reaches it.
#[derive(Clone)]
pub struct Object {
    /// The client.
    pub client: Client,
    /// The path of its kind, in its namespace if it has one, such as `/api/v1/namespaces/n/secrets`.
    pub collection: String,
    /// Its name, a DNS subdomain.
    pub name: String,
    /// The clock that its answers correct, if there is one.
    pub clock: Option<Clock>,
}

/// Handles the failures of a watch.
pub trait Failing {
    /// A round failed. Returns how long to pause.
    fn failed(&mut self, error: &CallError) -> Duration;

    /// The watch works.
    fn over(&mut self);

    /// A round ended and the object does not exist. Called in every such round, so that an alert lasts as long.
    fn absent(&mut self) {}
}

impl Object {
    /// Reads it.
    pub async fn get(&self) -> Result<Observed, CallError> {
        match self.call(Method::GET, "", None).await {
            Ok(object) => Ok(Observed::Present(object)),
            Err(CallError::Refused { code: StatusCode::NOT_FOUND, .. }) => Ok(Observed::Absent),
            Err(error) => Err(error),
        }
    }

    /// Replaces it, if its resourceVersion is still the one in there.
    pub async fn put(&self, object: &Value) -> Result<Observed, CallError> {
        self.call(Method::PUT, "application/json", Some(object)).await.map(Observed::Present)
    }

    /// Applies a JSON Patch.
    pub async fn patch(&self, patch: &Value) -> Result<Observed, CallError> {
        self.call(Method::PATCH, "application/json-patch+json", Some(patch)).await.map(Observed::Present)
    }

    async fn call(&self, method: Method, form: &str, body: Option<&Value>) -> Result<Value, CallError> {
        let manager = if body.is_some() { format!("?fieldManager={FIELD_MANAGER}") } else { String::new() };
        let request = Request::builder()
            .method(method)
            .uri(format!("{}/{}{manager}", self.collection, self.name))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, form)
            .body(body.map_or_else(Body::empty, |body| body.to_string().into_bytes().into()));
        let request = request.map_err(|error| CallError::Unreadable(error.to_string()))?;
        let answer = async {
            let response = self.client.send(request).await?;
            if let Some(clock) = &self.clock {
                clock.correct(response.headers());
            }
            let body = refuse_errors(response).await?.into_body().collect().await?.to_bytes();
            Ok(serde_json::from_slice(&body)?)
        };
        timeout(CALL_TIMEOUT, answer).await.unwrap_or(Err(CallError::TimedOut))
    }

    /// Follows it forever.
    pub async fn follow(&self, seen: watch::Sender<Observed>, failures: &mut impl Failing) {
        let mut ended_early = false;
        loop {
            let begun = Instant::now();
            let ended = self.get_and_watch(&seen, failures, ended_early).await;
            ended_early = matches!(ended, Err(CallError::EndedEarly(_)));
            match ended {
                Ok(()) => {
                    if *seen.borrow() == Observed::Absent {
                        failures.absent();
                    }
                    sleep(SHORTEST_ROUND.saturating_sub(begun.elapsed())).await;
                }
                Err(error) => sleep(failures.failed(&error)).await,
            }
        }
    }

    /// Failures are over once the watch has begun; after one that ended early, once it has lasted.
    async fn get_and_watch(
        &self,
        seen: &watch::Sender<Observed>,
        failures: &mut impl Failing,
        ended_early: bool,
    ) -> Result<(), CallError> {
        publish(seen, self.get().await?);
        let collection = Collection {
            client: self.client.clone(),
            path: self.collection.clone(),
            selector: format!("fieldSelector=metadata.name%3D{}", self.name),
            form: Form::Whole,
        };
        // The object's own version may be weeks old, and a watch from there is refused with 410.
        let mut events = collection.watch(WatchFrom::Present).await?;
        if !ended_early {
            failures.over();
        }
        loop {
            match events.next_of().await? {
                Progress::Event(event) => take(seen, event),
                Progress::Stable => failures.over(),
                Progress::Ended => return Ok(()),
            }
        }
    }
}

fn take(seen: &watch::Sender<Observed>, event: Event<Value>) {
    match event {
        Event::Applied(object) if is_news(seen, &object) => publish(seen, Observed::Present(object)),
        Event::Deleted(object) if is_news(seen, &object) => publish(seen, Observed::Absent),
        Event::Applied(_) | Event::Deleted(_) | Event::Bookmark(_) => {}
    }
}

/// Whether an object is at least as new as the last one. Events that are older than our own last write are ignored.
/// The versions of one kind are growing numbers. Only a restored backup turns them back. Watches end then, and the next
/// read counts with any version.
fn is_news(seen: &watch::Sender<Observed>, object: &Value) -> bool {
    let number = |version: Option<&str>| version.and_then(|version| version.parse::<u64>().ok());
    let (new, last) =
        (number(object["metadata"]["resourceVersion"].as_str()), number(seen.borrow().version()));
    new.zip(last).is_none_or(|(new, last)| new >= last)
}

/// Publishes the result of our own write, unless the watch has published a later one.
pub(crate) fn publish_if_news(seen: &watch::Sender<Observed>, written: Observed) {
    if written.object().is_none_or(|object| is_news(seen, object)) {
        publish(seen, written);
    }
}

/// Publishes an object, if it differs from the last one.
pub(crate) fn publish(seen: &watch::Sender<Observed>, object: Observed) {
    seen.send_if_modified(|last| {
        let is_news = *last != object;
        *last = object;
        is_news
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_a_write_has_overtaken_are_no_news() {
        let object = |version: &str| serde_json::json!({"metadata": {"resourceVersion": version}});
        let seen = watch::Sender::new(Observed::Present(object("10")));
        for (version, expected) in [("9", false), ("10", true), ("11", true), ("of another kind", true)] {
            assert_eq!(is_news(&seen, &object(version)), expected, "{version}");
        }
        assert!(is_news(&watch::Sender::new(Observed::Absent), &object("9")));
        publish_if_news(&seen, Observed::Present(object("9")));
        assert_eq!(seen.borrow().version(), Some("10"), "a write that another has followed already");
        publish_if_news(&seen, Observed::Present(object("12")));
        assert_eq!(seen.borrow().version(), Some("12"));
    }
}
