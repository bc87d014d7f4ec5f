//! The webhook's port: HTTP around the core.

use std::{cell::Cell, sync::Arc, time::Duration};

use hyper::{
    Method, Request, StatusCode, Uri,
    body::{Body, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap},
};
use prometheus::Histogram;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tracing::debug;

use super::{
    Timeouts,
    body::{self, BadBody},
    connection::{self, Handler},
    limits::{Memory, Waits},
    listen::Listener,
    reply::Reply,
};
use crate::{
    accounts::cache::Cache,
    admission::{self, BadReview, Operation, Outcome, PodRequest, Scratch, Webhook},
    injection::{binding::Account, warning::Warned},
    lifecycle::Drain,
    metrics::{AdmissionMetrics, Metrics, NamespaceCounters},
    recording::Recorder,
};

/// Limits of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// How many bytes a body may have.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long to wait for an unknown account, at most.
    pub lookup_grace: Duration,
    /// How many requests may wait for unknown accounts at once.
    pub waits: usize,
    /// How many bytes large bodies and requests that wait may hold together.
    pub memory: usize,
}

/// Answers admission requests.
#[derive(Clone, Debug)]
pub struct Mutate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    webhook: Webhook,
    cache: Arc<Cache>,
    limits: RequestLimits,
    waits: Waits,
    memory: Memory,
    metrics: Metrics,
    recorder: Option<Recorder>,
}

impl Mutate {
    /// A webhook over this cache.
    pub fn new(
        webhook: Webhook,
        cache: Arc<Cache>,
        limits: RequestLimits,
        metrics: Metrics,
        recorder: Option<Recorder>,
    ) -> Self {
        let (waits, memory) = (Waits::new(limits.waits), Memory::new(limits.memory));
        Self(Arc::new(Inner { webhook, cache, limits, waits, memory, metrics, recorder }))
    }

    /// Serves until the drain closes and every connection has ended.
    pub async fn serve(self, listener: Listener) {
        listener.serve(self).await;
    }

    /// Serves one connection that is open already, whatever it runs over, until it has ended.
    pub async fn serve_connection<IO>(self, io: IO, timeouts: Timeouts, drain: Drain)
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        connection::serve(io, self, timeouts, drain).await;
    }
}

impl Handler for Mutate {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        let reply = match (request.uri().path(), request.method()) {
            ("/mutate", &Method::POST) if is_json(request.headers()) => self.0.mutate(request).await,
            _ => without_body(&request),
        };
        self.0.metrics.http.response(reply.status().as_u16());
        reply
    }
}

/// What is answered without a look at the body. One that is still to come stands before any next request, so it ends
/// the connection.
fn without_body(request: &Request<Incoming>) -> Reply {
    let mut reply = match (request.uri().path(), request.method()) {
        ("/mutate", &Method::POST) => Reply::text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body has to be application/json without a content encoding",
        ),
        ("/mutate", _) => Reply::method_not_allowed("POST"),
        ("/healthz", &Method::GET | &Method::HEAD) => Reply::text(StatusCode::OK, "ok"),
        ("/healthz", _) => Reply::method_not_allowed("GET, HEAD"),
        _ => Reply::text(StatusCode::NOT_FOUND, "this port has /mutate and /healthz"),
    };
    if !request.body().is_end_stream() {
        reply.close();
    }
    reply
}

impl Inner {
    async fn mutate(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let RequestLimits { body_bytes, body_time, .. } = self.limits;
        match body::read(&head.headers, body, body_bytes, body_time, &self.memory).await {
            Ok(mut held) => self.admit(std::mem::take(&mut held.bytes), &head.uri).await,
            Err(error) => {
                if matches!(error, BadBody::NoMemory) {
                    self.metrics.admissions.count(Operation::Unknown, Outcome::NoMemory, Warned::default());
                }
                error.reply(self.limits.body_bytes)
            }
        }
    }

    /// Answers one admission.
    async fn admit(&self, mut body: Vec<u8>, uri: &Uri) -> Reply {
        let mut record = Record::begin(&self.metrics.admissions);
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let copied = self.recorder.as_ref().and_then(|recorder| recorder.copy(&body));
        let result = match self.skim(&body, &mut scratch, &mut record) {
            Some(outcome) => Ok(outcome),
            None => self.answer(&mut body, &mut scratch, uri, &mut record).await,
        };
        let reply = match result {
            Ok(Outcome::NotSynced) => {
                Reply::retry_later("the ServiceAccounts have not been listed yet; try again")
            }
            Ok(Outcome::UnknownAccount) => {
                Reply::retry_later("the pod's ServiceAccount has not been seen yet; try again")
            }
            Ok(outcome) => {
                if let Some(copied) = copied {
                    copied.answered(record.operation, outcome);
                }
                record.warned = scratch.warned();
                scratch.take_response(&mut body);
                Reply::ok("application/json", body)
            }
            Err(error) => {
                record.outcome = Outcome::BadReview;
                debug!(%error, "request refused");
                Reply::text(StatusCode::BAD_REQUEST, error.to_string())
            }
        };
        if scratch.is_worth_keeping() {
            SCRATCH.set(Some(scratch));
        }
        reply
    }

    /// Answers for a pod without a role, without parsing its request.
    fn skim(&self, body: &[u8], scratch: &mut Scratch, record: &mut Record<'_>) -> Option<Outcome> {
        let look_up = |namespace: &str, name: &str| self.cache.look_up(namespace, name);
        let (skimmed, outcome) = self.webhook.skim(body, look_up, scratch)?;
        record.is_for(skimmed.namespace());
        record.ends(Operation::Create, outcome, (skimmed.uid(), skimmed.namespace(), skimmed.name()));
        Some(outcome)
    }

    async fn answer(
        &self,
        body: &mut Vec<u8>,
        scratch: &mut Scratch,
        uri: &Uri,
        record: &mut Record<'_>,
    ) -> Result<Outcome, BadReview> {
        let document = scratch.parse(body)?;
        let request = self.webhook.read(&document)?;
        record.operation = request.operation();
        record.is_for(request.namespace());
        let outcome = match &request {
            admission::Request::Exempt(exempt) => self.webhook.allow(exempt, scratch),
            admission::Request::Pod(pod) => {
                // Read only by who waits.
                let deadline = || record.begun + self.grace(uri.query());
                match self.look_up(pod, deadline, document.memory()).await {
                    Ok(account) => self.webhook.answer(pod, &account, scratch)?,
                    Err(outcome) => outcome,
                }
            }
        };
        record.ends(request.operation(), outcome, (request.uid(), request.namespace(), request.name()));
        scratch.recycle(document);
        Ok(outcome)
    }

    /// Looks up the pod's account, and waits for one that is unknown, while `bytes` are held for it.
    async fn look_up(
        &self,
        pod: &PodRequest<'_>,
        deadline: impl FnOnce() -> Instant,
        bytes: usize,
    ) -> Result<Account, Outcome> {
        let (namespace, name) = (pod.namespace(), pod.service_account());
        if let Some(account) = self.cache.look_up(namespace, name) {
            return Ok(account);
        }
        let metrics = &self.metrics.admissions;
        let mut wait = Wait { begun: Instant::now(), histogram: &metrics.waits_abandoned };
        let mut found = None;
        if let (Some(_waiting), Some(_held)) = (self.waits.enter(namespace), self.memory.take(bytes)) {
            found = self.cache.wait(namespace, name, deadline()).await;
            wait.histogram = if found.is_some() { &metrics.waits_arrived } else { &metrics.waits_timed_out };
        } else {
            wait.histogram = &metrics.waits_refused;
        }
        found.ok_or(if self.cache.is_synced() { Outcome::UnknownAccount } else { Outcome::NotSynced })
    }

    /// How long this request may wait for its account: never more than half of what kube-apiserver gives it.
    fn grace(&self, query: Option<&str>) -> Duration {
        let parameters = query.into_iter().flat_map(|query| query.split('&'));
        let timeout = parameters
            .filter_map(|parameter| parameter.strip_prefix("timeout="))
            .find_map(|timeout| humantime::parse_duration(timeout).ok());
        timeout.map_or(self.limits.lookup_grace, |timeout| self.limits.lookup_grace.min(timeout / 2))
    }
}

thread_local! {
    /// One is enough for each thread: only requests that wait hold theirs across an await.
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

/// Of a header that comes twice, each counts.
fn is_json(headers: &HeaderMap) -> bool {
    let texts = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut media_types = texts(CONTENT_TYPE).map(|text| text.split(';').next().unwrap_or_default().trim());
    media_types.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
        && media_types.next().is_none()
        && texts(CONTENT_ENCODING).all(|encoding| encoding.eq_ignore_ascii_case("identity"))
}

/// Counts an admission when it is dropped, be it answered or abandoned.
struct Record<'a> {
    metrics: &'a AdmissionMetrics,
    begun: Instant,
    operation: Operation,
    outcome: Outcome,
    warned: Warned,
    namespace: Option<Arc<NamespaceCounters>>,
}

impl<'a> Record<'a> {
    fn begin(metrics: &'a AdmissionMetrics) -> Self {
        metrics.in_flight.inc();
        let (operation, outcome) = (Operation::Unknown, Outcome::Abandoned);
        let (warned, namespace) = (Warned::default(), None);
        Self { metrics, begun: Instant::now(), operation, outcome, warned, namespace }
    }

    /// Takes the namespace that the admission counts for.
    fn is_for(&mut self, namespace: &str) {
        self.namespace = self.metrics.namespaces.as_ref().map(|namespaces| namespaces.of(namespace));
    }

    /// Takes how the admission of a pod ends.
    fn ends(&mut self, operation: Operation, outcome: Outcome, (uid, namespace, pod): (&str, &str, &str)) {
        (self.operation, self.outcome) = (operation, outcome);
        debug!(
            uid,
            namespace,
            pod,
            operation = operation.as_str(),
            outcome = outcome.as_str(),
            reason = outcome.reason(),
            "admission"
        );
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics.count(self.operation, self.outcome, self.warned);
        if let Some(namespace) = &self.namespace {
            namespace.count(self.outcome, self.warned);
        }
        self.metrics.duration.observe(self.begun.elapsed().as_secs_f64());
    }
}

/// Measures a wait when it is dropped, be it over or abandoned.
struct Wait<'a> {
    begun: Instant,
    histogram: &'a Histogram,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.histogram.observe(self.begun.elapsed().as_secs_f64());
    }
}
