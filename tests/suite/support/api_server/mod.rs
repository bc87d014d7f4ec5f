//! A small API server that misbehaves on demand: ServiceAccounts as metadata, listed in pages and watched; pods,
//! listed in pages; and a Secret and a webhook configuration, by name.

mod accounts;
mod namespaces;
pub(crate) mod objects;
mod pods;

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use eks_pod_identity_webhook::{accounts::sources::watch, metrics::AccountMetrics};
use futures::{Stream, StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch as tokio_watch},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

pub(crate) use self::accounts::InitialEvents;
use self::{accounts::object, objects::Objects};
use super::{ROLE_ANNOTATION, issuer::JWKS, pki::Pair};

type Body = BoxBody<Bytes, io::Error>;

/// A line of a watch, or the end of its connection.
enum WatchFrame {
    Line(String),
    Abort,
}

#[derive(Default)]
struct State {
    revision: u64,
    /// By namespace and name: revision and annotations.
    accounts: BTreeMap<(String, String), (u64, Value)>,
    events: Vec<(u64, String)>,
    compacted: u64,
    watchers: Vec<mpsc::UnboundedSender<WatchFrame>>,
    /// Open watches that get no more events.
    mute: Vec<mpsc::UnboundedSender<WatchFrame>>,
    /// The pause before each piece of a list.
    trickle: Option<Duration>,
    /// Statuses that the next lists are answered with, page by page; 200 lets a page through.
    list_statuses: VecDeque<u16>,
    /// Statuses that the next watches are answered with.
    watch_statuses: VecDeque<u16>,
    initial_events: InitialEvents,
    /// Whether watches end at once, without an error.
    ends_watches_at_once: bool,
    lists: usize,
    pages: usize,
    watches: usize,
    asked_for_whole_objects: usize,
    authorization: Option<String>,
    objects: Objects,
    namespaces: namespaces::Namespaces,
    pods: Vec<Value>,
    pod_pages: usize,
    /// Whole answers, by path: status and body.
    documents: BTreeMap<String, (u16, String)>,
}

pub(crate) struct ApiServer {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    tls: Option<TlsAcceptor>,
    /// Whether pages after the first are held back.
    hold_pages: tokio_watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// One that speaks TLS, as a real one does.
    pub(crate) async fn start_tls(pair: &Pair) -> Self {
        let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_single_cert(vec![cert], key).unwrap();
        Self::start_with(Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_with(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { revision: 100, ..State::default() }));
        let mut server =
            Self { address, state, tls, hold_pages: tokio_watch::channel(false).0, serving: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let (state, hold) = (Arc::clone(&self.state), self.hold_pages.subscribe());
        let tls = self.tls.clone();
        self.serving = Some(tokio::spawn(async move {
            // Connections live in this task's set and end with it: an outage is an outage for all.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (state, hold) = (Arc::clone(&state), hold.clone());
                let service = service_fn(move |request| {
                    let (state, hold) = (Arc::clone(&state), hold.clone());
                    async move { Ok::<_, Infallible>(respond(&state, hold, request).await) }
                });
                let (tls, builder) = (tls.clone(), http1::Builder::new());
                connections.spawn(async move {
                    match tls {
                        None => builder.serve_connection(TokioIo::new(stream), service).await.ok(),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => builder.serve_connection(TokioIo::new(stream), service).await.ok(),
                            Err(_) => None,
                        },
                    }
                });
            }
        }));
    }

    pub(crate) fn client(&self, metrics: AccountMetrics) -> kube::Client {
        let uri = format!("http://{}", self.address).parse().unwrap();
        watch::client(watch::tuned(kube::Config::new(uri)), metrics).unwrap()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Answers every request at a path with this.
    pub(crate) fn answer(&self, path: &str, status: u16, body: &str) {
        self.state().documents.insert(path.to_owned(), (status, body.to_owned()));
    }

    /// Creates or changes an account, and tells the watches.
    pub(crate) fn apply(&self, namespace: &str, name: &str, annotations: Value) {
        let mut state = self.state();
        let event = state.store(namespace, name, annotations);
        state.publish(event);
    }

    /// Has had accounts with this role for longer than history goes back.
    pub(crate) fn has_had(&self, namespace: &str, names: impl Iterator<Item = String>, role: &str) {
        self.has_had_annotated(namespace, names, &json!({ROLE_ANNOTATION: role}));
    }

    /// Has had accounts with these annotations for longer than history goes back.
    pub(crate) fn has_had_annotated(
        &self,
        namespace: &str,
        names: impl Iterator<Item = String>,
        annotations: &Value,
    ) {
        let mut state = self.state();
        for name in names {
            state.revision += 1;
            let account = (state.revision, annotations.clone());
            state.accounts.insert((namespace.to_owned(), name), account);
        }
        state.compacted = state.revision;
    }

    /// Creates or changes one, and sends garbage to the watches.
    pub(crate) fn apply_with_malformed_event(&self, namespace: &str, name: &str, annotations: Value) {
        let mut state = self.state();
        state.store(namespace, name, annotations);
        state.publish(r#"{"type":"MODIFIED","object":{"metadata":{"name":7}}}"#.to_owned());
    }

    pub(crate) fn delete(&self, namespace: &str, name: &str) {
        let mut state = self.state();
        state.revision += 1;
        let revision = state.revision;
        let key = (namespace.to_owned(), name.to_owned());
        let (_, annotations) = state.accounts.remove(&key).unwrap();
        let event = json!({"type": "DELETED", "object": object(namespace, name, revision, &annotations)});
        state.publish(event.to_string());
    }

    pub(crate) fn bookmark(&self) {
        let mut state = self.state();
        let line = accounts::bookmark(state.revision, &json!(null));
        state.send(&line);
    }

    /// Forgets history: watches from before can't go on.
    pub(crate) fn compact(&self) {
        let mut state = self.state();
        state.revision += 1;
        state.compacted = state.revision;
        state.events.clear();
    }

    /// Goes on with no watch that is open now, and ends none: their connections are half-open.
    pub(crate) fn mute_watches(&self) {
        let mut state = self.state();
        let watchers = std::mem::take(&mut state.watchers);
        state.mute.extend(watchers);
    }

    /// Sends lists in pieces of 1 KiB, each after this pause.
    pub(crate) fn trickle(&self, pause: Option<Duration>) {
        self.state().trickle = pause;
    }

    /// Breaks the connections of all watches, in the middle of the stream.
    pub(crate) fn break_watches(&self) {
        for watcher in self.state().watchers.drain(..) {
            watcher.send(WatchFrame::Abort).ok();
        }
    }

    /// What it does when a watch asks for initial events.
    pub(crate) fn initial_events(&self, initial_events: InitialEvents) {
        self.state().initial_events = initial_events;
    }

    /// Ends watches at once from now on, without an error, or lets them last.
    pub(crate) fn end_watches_at_once(&self, at_once: bool) {
        let mut state = self.state();
        state.ends_watches_at_once = at_once;
        if at_once {
            state.watchers.clear();
        }
    }

    /// What the next pages of lists are answered with; 200 lets one through. Of a stream of initial events, the first status
    /// is that of the call, and the second decides how it ends.
    pub(crate) fn fail_lists(&self, statuses: &[u16]) {
        self.state().list_statuses.extend(statuses);
    }

    /// What the next watches are answered with.
    pub(crate) fn fail_watches(&self, statuses: &[u16]) {
        self.state().watch_statuses.extend(statuses);
    }

    /// Holds back all pages of a list but the first, or lets them go.
    pub(crate) fn hold_pages(&self, hold: bool) {
        self.hold_pages.send_replace(hold);
    }

    /// Goes away: connections break, new ones are refused.
    pub(crate) async fn stop(&mut self) {
        let serving = self.serving.take().unwrap();
        serving.abort();
        serving.await.ok();
        self.state().watchers.clear();
        self.break_namespace_watches();
    }

    /// Comes back at the same address.
    pub(crate) async fn resume(&mut self) {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.serve(socket.listen(64).unwrap());
    }

    pub(crate) fn lists(&self) -> usize {
        self.state().lists
    }

    pub(crate) fn pages(&self) -> usize {
        self.state().pages
    }

    pub(crate) fn watches(&self) -> usize {
        self.state().watches
    }

    /// How many watches are open now.
    pub(crate) fn open_watches(&self) -> usize {
        self.state().watchers.iter().filter(|watcher| !watcher.is_closed()).count()
    }

    /// What the last request said of who it is from.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.state().authorization.clone()
    }

    pub(crate) fn asked_for_whole_objects(&self) -> usize {
        self.state().asked_for_whole_objects
    }
}

impl State {
    /// Stores an account; returns the event that tells of it.
    fn store(&mut self, namespace: &str, name: &str, annotations: Value) -> String {
        self.revision += 1;
        let object = object(namespace, name, self.revision, &annotations);
        let key = (namespace.to_owned(), name.to_owned());
        let old = self.accounts.insert(key, (self.revision, annotations));
        let kind = if old.is_some() { "MODIFIED" } else { "ADDED" };
        json!({"type": kind, "object": object}).to_string()
    }

    fn publish(&mut self, event: String) {
        self.send(&event);
        self.events.push((self.revision, event));
    }

    fn send(&mut self, line: &str) {
        self.watchers.retain(|watcher| watcher.send(WatchFrame::Line(line.to_owned())).is_ok());
    }
}

/// The media type of an issuer's keys; kube-apiserver sends them as nothing else.
const JWKS_TYPE: &str = "application/jwk-set+json";

async fn respond(
    state: &Arc<Mutex<State>>,
    mut hold: tokio_watch::Receiver<bool>,
    request: Request<Incoming>,
) -> Response<Body> {
    if let Some((status, body)) = state.lock().unwrap().documents.get(request.uri().path()) {
        let accept = request.headers().get("accept").map_or("*/*", |value| value.to_str().unwrap());
        if request.uri().path() == JWKS && !accept.contains("*/*") && !accept.contains(JWKS_TYPE) {
            return verbatim(StatusCode::NOT_ACCEPTABLE, format!("406: Not Acceptable, only {JWKS_TYPE}"));
        }
        return verbatim(StatusCode::from_u16(*status).unwrap(), body.clone());
    }
    if request.uri().path() == "/api/v1/namespaces" {
        return namespaces::respond(&mut state.lock().unwrap(), &request);
    }
    let Some((namespace, resource)) = collection(request.uri().path()) else {
        return objects::respond(state, request).await;
    };
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    let after = parameter("continue").filter(|token| !token.is_empty());
    let limit = parameter("limit").map_or(500, |limit| limit.parse().unwrap());
    if resource == "pods" {
        let selector = parameter("fieldSelector").unwrap_or_default();
        let offset = after.map_or(0, |token| token.parse().unwrap());
        return pods::list(&mut state.lock().unwrap(), namespace.as_deref(), (offset, limit), &selector);
    }
    let accept = request.headers().get("accept").map_or("", |value| value.to_str().unwrap());
    if !accept.contains("PartialObjectMetadata") {
        state.lock().unwrap().asked_for_whole_objects += 1;
    }
    let authorization =
        request.headers().get("authorization").map(|value| value.to_str().unwrap().to_owned());
    state.lock().unwrap().authorization = authorization;
    if parameter("sendInitialEvents").is_some() {
        return accounts::watch_from_start(state, hold);
    }
    if parameter("watch").is_some() {
        return accounts::watch(state, parameter("resourceVersion").unwrap().parse().unwrap());
    }
    if after.is_some() {
        hold.wait_for(|hold| !hold).await.ok();
    }
    accounts::list(&mut state.lock().unwrap(), namespace.as_deref(), after, limit)
}

/// Of a path that lists or watches accounts or pods: the namespace, if it is of one, and the resource.
fn collection(path: &str) -> Option<(Option<String>, String)> {
    let parts: Vec<&str> = path.strip_prefix("/api/v1/")?.split('/').collect();
    let (namespace, resource) = match parts[..] {
        [resource] => (None, resource),
        ["namespaces", namespace, resource] => (Some(namespace.to_owned()), resource),
        _ => return None,
    };
    matches!(resource, "pods" | "serviceaccounts").then(|| (namespace, resource.to_owned()))
}

fn streamed(receiver: mpsc::UnboundedReceiver<WatchFrame>) -> Response<Body> {
    Response::new(BodyExt::boxed(StreamBody::new(frames(receiver))))
}

fn frames(receiver: mpsc::UnboundedReceiver<WatchFrame>) -> impl Stream<Item = io::Result<Frame<Bytes>>> {
    let lines = stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    lines.map(|frame| match frame {
        WatchFrame::Line(line) => Ok(Frame::data(Bytes::from(line + "\n"))),
        WatchFrame::Abort => Err(io::Error::other("broken on demand")),
    })
}

fn failure(code: u16) -> Response<Body> {
    whole(StatusCode::from_u16(code).unwrap(), &status(code))
}

fn status(code: u16) -> Value {
    let reason = if code == 410 { "Expired" } else { "Failure" };
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "reason": reason, "message": format!("answered with {code}")})
}

fn whole(status: StatusCode, body: &Value) -> Response<Body> {
    verbatim(status, body.to_string())
}

fn verbatim(status: StatusCode, body: String) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}
