//! The Secret, the webhook configuration and the ConfigMap of roles: got, watched and written by who has no more rights than the chart gives.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Mutex,
    time::{Duration, SystemTime},
};

use base64_simd::STANDARD;
use http_body_util::BodyExt;
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header::DATE};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{super::eventually, ApiServer, Body, State, WatchFrame, failure, streamed, whole};

/// Namespace and names are those that the manifests give.
pub(crate) const NAMESPACE: &str = "aws-pod-identity-webhook";
const SECRET: &str = "/api/v1/namespaces/aws-pod-identity-webhook/secrets/eks-pod-identity-webhook-tls";
const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/eks-pod-identity-webhook";

const CONFIG_MAP: &str = "/api/v1/namespaces/aws-pod-identity-webhook/configmaps/pod-identity-webhook";

#[derive(Default)]
pub(super) struct Objects {
    by_path: BTreeMap<&'static str, Value>,
    watchers: Vec<(&'static str, mpsc::UnboundedSender<WatchFrame>)>,
    /// What the next calls with this method are answered with.
    failures: VecDeque<(Method, u16)>,
    /// What a role for these objects does not allow, as it was asked for.
    refused: Vec<String>,
    /// How far this server's clock is ahead.
    ahead: Duration,
    /// Whether it is behind by that much instead.
    is_behind: bool,
    watches: usize,
    interference: Option<Interference>,
    /// The Secrets that were sent in writes.
    written_secrets: Vec<Value>,
}

/// What takes back the data of the Secret that is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interference {
    /// An admission policy that removes an entry.
    Prune(&'static str),
    /// A controller that empties the Secret right after each write.
    Empty,
}

impl ApiServer {
    /// The Secret, empty as the chart creates it, and the configuration with two entries.
    pub(crate) fn create_for_webhook(&self) {
        self.create_secret(json!({}));
        self.create_configuration();
    }

    pub(crate) fn create_secret(&self, data: Value) {
        let metadata = json!({"name": "eks-pod-identity-webhook-tls", "labels": {"of": "the chart"}});
        let secret = json!({"kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": data});
        self.state().put(SECRET, "ADDED", secret);
    }

    pub(crate) fn create_configuration(&self) {
        let entry = |name: &str| json!({"name": name, "clientConfig": {"service": {"name": "w"}}, "rules": [{"keep": 1}]});
        let configuration = json!({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "eks-pod-identity-webhook"},
            "webhooks": [entry("a.example.com"), entry("b.example.com")]});
        self.state().put(CONFIGURATION, "ADDED", configuration);
    }

    /// Creates the Secret or the configuration of a manifest, under its own name.
    pub(crate) fn create(&self, object: &Value) {
        let [name, namespace] = ["name", "namespace"].map(|key| object["metadata"][key].as_str());
        let path = match (namespace, object["kind"].as_str()) {
            (Some(namespace), Some("Secret")) => format!("/api/v1/namespaces/{namespace}/secrets/"),
            (None, Some("MutatingWebhookConfiguration")) => {
                "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/".to_owned()
            }
            _ => panic!("not kept here: {object}"),
        } + name.unwrap();
        let path = [SECRET, CONFIGURATION].into_iter().find(|known| *known == path);
        self.state().put(path.expect("the name that this server keeps it under"), "ADDED", object.clone());
    }

    /// Takes back what is written to the Secret from now on, or no more.
    pub(crate) fn interfere(&self, interference: Option<Interference>) {
        self.state().objects.interference = interference;
    }

    /// The Secrets that were sent in writes.
    pub(crate) fn written_secrets(&self) -> Vec<Value> {
        self.state().objects.written_secrets.clone()
    }

    pub(crate) fn secret(&self) -> Value {
        self.state().objects.by_path[SECRET].clone()
    }

    pub(crate) fn set_secret_data(&self, name: &str, value: &[u8]) {
        let mut secret = self.secret();
        secret["data"][name] = STANDARD.encode_to_string(value).into();
        self.state().put(SECRET, "MODIFIED", secret);
    }

    /// Empties the Secret, as a re-install does.
    pub(crate) fn empty_secret(&self) {
        let mut secret = self.secret();
        secret["data"] = json!({});
        self.state().put(SECRET, "MODIFIED", secret);
    }

    pub(crate) fn delete_secret(&self) {
        self.state().delete(SECRET);
    }

    pub(crate) fn delete_configuration(&self) {
        self.state().delete(CONFIGURATION);
    }

    pub(crate) fn configuration(&self) -> Value {
        self.state().objects.by_path[CONFIGURATION].clone()
    }

    /// The PEM that an entry publishes; nothing where it publishes none.
    pub(crate) fn ca_bundle(&self, entry: usize) -> String {
        let bundle = self.configuration()["webhooks"][entry]["clientConfig"]["caBundle"].clone();
        String::from_utf8(STANDARD.decode_to_vec(bundle.as_str().unwrap_or_default()).unwrap()).unwrap()
    }

    /// Overwrites an entry's `caBundle`, as a GitOps tool does.
    pub(crate) fn set_ca_bundle(&self, entry: usize, bundle: Value) {
        let mut configuration = self.configuration();
        configuration["webhooks"][entry]["clientConfig"]["caBundle"] = bundle;
        self.state().put(CONFIGURATION, "MODIFIED", configuration);
    }

    /// Creates or changes the ConfigMap of roles.
    pub(crate) fn put_config_map(&self, data: Value) {
        let metadata = json!({"name": "pod-identity-webhook", "namespace": NAMESPACE});
        let config_map = json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data});
        let mut state = self.state();
        let kind = if state.objects.by_path.contains_key(CONFIG_MAP) { "MODIFIED" } else { "ADDED" };
        state.put(CONFIG_MAP, kind, config_map);
    }

    pub(crate) fn delete_config_map(&self) {
        self.state().delete(CONFIG_MAP);
    }

    /// Puts this server's clock ahead, or behind, of everybody's.
    pub(crate) fn set_clock(&self, by: Duration, is_behind: bool) {
        let objects = &mut self.state().objects;
        (objects.ahead, objects.is_behind) = (by, is_behind);
    }

    /// The time as this server has it.
    pub(crate) fn now(&self) -> SystemTime {
        self.state().objects.now()
    }

    /// Lets time pass for this server, and breaks the watches, upon which everybody asks again. Not before so many
    /// replicas watch both objects: one that has asked already and only then watches would not learn of the time.
    pub(crate) async fn let_pass(&self, time: Duration, replicas: usize) {
        eventually("everybody watches", || {
            let objects = &mut self.state().objects;
            objects.watchers.retain(|(_, watcher)| !watcher.is_closed());
            let all_watch = objects.watchers.len() >= 2 * replicas;
            if all_watch {
                objects.ahead += time;
                objects.break_watches();
            }
            all_watch
        })
        .await;
    }

    pub(crate) fn break_object_watches(&self) {
        self.state().objects.break_watches();
    }

    pub(crate) fn fail_calls(&self, method: &Method, statuses: &[u16]) {
        let statuses = statuses.iter().map(|status| (method.clone(), *status));
        self.state().objects.failures.extend(statuses);
    }

    /// What was asked for beyond what the role of the chart allows.
    pub(crate) fn refused(&self) -> Vec<String> {
        self.state().objects.refused.clone()
    }

    pub(crate) fn object_watches(&self) -> usize {
        self.state().objects.watches
    }
}

impl Objects {
    fn now(&self) -> SystemTime {
        if self.is_behind { SystemTime::now() - self.ahead } else { SystemTime::now() + self.ahead }
    }
}

impl Objects {
    fn break_watches(&mut self) {
        for (_, watcher) in self.watchers.drain(..) {
            watcher.send(WatchFrame::Abort).ok();
        }
    }
}

impl State {
    fn put(&mut self, path: &'static str, kind: &str, mut object: Value) -> Value {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.objects.by_path.insert(path, object.clone());
        self.tell(path, kind, &object);
        object
    }

    fn delete(&mut self, path: &'static str) {
        self.revision += 1;
        let mut object = self.objects.by_path.remove(path).unwrap();
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        self.tell(path, "DELETED", &object);
    }

    fn tell(&mut self, path: &'static str, kind: &str, object: &Value) {
        let event = json!({"type": kind, "object": object});
        let told = |(watched, watcher): &(&str, mpsc::UnboundedSender<WatchFrame>)| {
            *watched != path || watcher.send(WatchFrame::Line(event.to_string())).is_ok()
        };
        self.objects.watchers.retain(told);
    }
}

pub(super) async fn respond(state: &Mutex<State>, request: Request<Incoming>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let (method, path) = (head.method, head.uri.path());
    let query = head.uri.query().unwrap_or_default().to_owned();
    let mut state = state.lock().unwrap();
    let mut response = match permitted(&method, path, &query) {
        None => {
            state.objects.refused.push(format!("{method} {}", head.uri));
            failure(403)
        }
        Some((object, is_watch)) => {
            let failing = state.objects.failures.iter().position(|(failing, _)| *failing == method);
            match failing.and_then(|index| state.objects.failures.remove(index)) {
                Some((_, status)) => failure(status),
                None if is_watch => watch(&mut state, object, &query),
                None => call(&mut state, object, &method, &body),
            }
        }
    };
    let date = httpdate::fmt_http_date(state.objects.now());
    response.headers_mut().insert(DATE, date.parse().unwrap());
    response
}

/// Which object that is, and whether it is to be watched, if the role allows it.
fn permitted(method: &Method, path: &str, query: &str) -> Option<(&'static str, bool)> {
    let objects = [(SECRET, Method::PUT), (CONFIGURATION, Method::PATCH), (CONFIG_MAP, Method::GET)];
    objects.into_iter().find_map(|(object, write)| {
        let (collection, name) = object.rsplit_once('/').unwrap();
        let selects = query.split('&').any(|pair| pair == format!("fieldSelector=metadata.name%3D{name}"));
        let is_watch = path == collection && selects && query.contains("watch=true") && method == Method::GET;
        let is_call = path == object && (method == Method::GET || *method == write);
        (is_watch || is_call).then_some((object, is_watch))
    })
}

fn watch(state: &mut State, path: &'static str, query: &str) -> Response<Body> {
    state.objects.watches += 1;
    let (sender, receiver) = mpsc::unbounded_channel();
    // The only version that is known without a list is the object's own, and that is too old on any busy cluster.
    if query.contains("resourceVersion=") {
        return failure(410);
    }
    if let Some(object) = state.objects.by_path.get(path) {
        let event = json!({"type": "ADDED", "object": object});
        sender.send(WatchFrame::Line(event.to_string())).unwrap();
    }
    state.objects.watchers.push((path, sender));
    streamed(receiver)
}

fn call(state: &mut State, path: &'static str, method: &Method, body: &[u8]) -> Response<Body> {
    let Some(mut object) = state.objects.by_path.get(path).cloned() else { return failure(404) };
    let version = object["metadata"]["resourceVersion"].clone();
    if *method == Method::PUT {
        let new: Value = serde_json::from_slice(body).unwrap();
        if new["metadata"]["resourceVersion"] != version {
            return failure(409);
        }
        assert_eq!(new["metadata"]["labels"], object["metadata"]["labels"], "only the data is changed");
        object = put_secret(state, new, object);
    } else if *method == Method::PATCH {
        let patch: json_patch::Patch = serde_json::from_slice(body).unwrap();
        for operation in &*patch {
            let at = operation.path().to_string();
            let is_test = matches!(operation, json_patch::PatchOperation::Test(_));
            assert!(is_test || at.ends_with("/clientConfig/caBundle"), "nothing else is changed: {at}");
        }
        if json_patch::patch(&mut object, &patch).is_err() {
            return failure(422);
        }
        object = state.put(path, "MODIFIED", object);
    }
    whole(StatusCode::OK, &object)
}

/// Stores a Secret that was written, as the admission policy leaves it, which may be as it was.
fn put_secret(state: &mut State, mut new: Value, old: Value) -> Value {
    state.objects.written_secrets.push(new.clone());
    if let (Some(Interference::Prune(entry)), Some(data)) =
        (state.objects.interference, new["data"].as_object_mut())
    {
        data.remove(entry);
    }
    // A write that changes nothing is not stored.
    if new == old {
        return old;
    }
    let mut stored = state.put(SECRET, "MODIFIED", new);
    let written = stored.clone();
    if let Some(Interference::Empty) = state.objects.interference {
        stored["data"] = json!({});
        state.put(SECRET, "MODIFIED", stored);
    }
    written
}
