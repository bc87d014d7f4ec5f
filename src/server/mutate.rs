//! The webhook's port: HTTP around the core.

use std::{cell::Cell, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HeaderMap},
};
use prometheus::Histogram;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{connection::Handler, listen::Listener, reply::Reply};
use crate::{
    accounts::{binding::Account, cache::Cache},
    admission::{self, Answer, BadReview, Operation, Outcome, PodRequest, Scratch, Webhook},
    metrics::{AdmissionMetrics, Metrics},
};

/// Room made for a body before its first byte has come, at most.
const MAX_INITIAL_CAPACITY: usize = 1 << 20;

/// Bodies are read, and thrown away, up to this multiple of the limit.
const DISCARDED: usize = 3;

/// Limits of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// How many bytes a body may have.
    pub body_bytes: usize,
    /// How long a body may take to arrive.
    pub body_time: Duration,
    /// How long to wait for an unknown account, at most.
    pub lookup_grace: Duration,
}

/// Answers admission requests.
#[derive(Clone, Debug)]
pub struct Mutate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    webhook: Webhook,
    cache: Arc<Cache>,
    limits: RequestLimits,
    metrics: Metrics,
}

impl Mutate {
    /// A webhook over this cache.
    pub fn new(webhook: Webhook, cache: Arc<Cache>, limits: RequestLimits, metrics: Metrics) -> Self {
        Self(Arc::new(Inner { webhook, cache, limits, metrics }))
    }

    /// Serves until the drain closes and every connection has ended.
    pub async fn serve(self, listener: Listener) {
        listener.serve(self).await;
    }
}

impl Handler for Mutate {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        let reply = match (request.uri().path(), request.method()) {
            ("/mutate", &Method::POST) => self.0.mutate(request).await,
            ("/mutate", _) => Reply::method_not_allowed("POST"),
            ("/healthz", &Method::GET | &Method::HEAD) => Reply::text(StatusCode::OK, "ok"),
            ("/healthz", _) => Reply::method_not_allowed("GET, HEAD"),
            _ => Reply::text(StatusCode::NOT_FOUND, "this port has /mutate and /healthz"),
        };
        self.0.metrics.http.response(reply.status().as_u16());
        reply
    }
}

/// Why a body was not taken.
enum BadBody {
    TooLarge,
    TooSlow,
    Broken(hyper::Error),
}

impl Inner {
    async fn mutate(&self, request: Request<Incoming>) -> Reply {
        if !is_json(request.headers()) {
            return Reply::text(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body has to be application/json without a content encoding",
            );
        }
        let grace = self.grace(request.uri().query());
        let mut reply = match self.read_body(request).await {
            Ok(mut body) => return self.admit(&mut body, grace).await,
            Err(BadBody::TooLarge) => {
                let limit = self.limits.body_bytes;
                Reply::text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
            }
            Err(BadBody::TooSlow) => Reply::text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            Err(BadBody::Broken(error)) => {
                Reply::text(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"))
            }
        };
        // What is left of the body stands before any next request.
        reply.close();
        reply
    }

    /// Answers one admission.
    async fn admit(&self, body: &mut Vec<u8>, grace: Duration) -> Reply {
        let mut record = Record::begin(&self.metrics.admissions);
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let deadline = record.begun + grace;
        let result = self.answer(body, &mut scratch, deadline, &mut record).await;
        if scratch.is_worth_keeping() {
            SCRATCH.set(Some(scratch));
        }
        match result {
            Ok(Answered::Allowed(answer)) => Reply::ok("application/json", answer.body),
            Ok(Answered::Unknown(outcome)) => Reply::retry_later(unavailable(outcome)),
            Err(error) => {
                record.outcome = Outcome::BadReview;
                debug!(%error, "request refused");
                Reply::text(StatusCode::BAD_REQUEST, error.to_string())
            }
        }
    }

    async fn answer(
        &self,
        body: &mut Vec<u8>,
        scratch: &mut Scratch,
        deadline: Instant,
        record: &mut Record<'_>,
    ) -> Result<Answered, BadReview> {
        let document = scratch.parse(body)?;
        let request = self.webhook.read(&document)?;
        record.operation = request.operation();
        let answered = match &request {
            admission::Request::Exempt(exempt) => Answered::Allowed(self.webhook.allow(exempt)),
            admission::Request::Pod(pod) => match self.look_up(pod, deadline).await {
                Ok(account) => Answered::Allowed(self.webhook.answer(pod, &account, scratch)?),
                Err(outcome) => Answered::Unknown(outcome),
            },
        };
        record.outcome = answered.outcome();
        debug!(
            uid = request.uid(),
            namespace = request.namespace(),
            pod = request.name(),
            operation = record.operation.as_str(),
            outcome = record.outcome.as_str(),
            reason = record.outcome.reason(),
            "admission"
        );
        scratch.recycle(document);
        Ok(answered)
    }

    /// Looks up the pod's account, and waits for one that is unknown.
    async fn look_up(&self, pod: &PodRequest<'_>, deadline: Instant) -> Result<Account, Outcome> {
        let (namespace, name) = (pod.namespace(), pod.service_account());
        if let Some(account) = self.cache.look_up(namespace, name) {
            return Ok(account);
        }
        let metrics = &self.metrics.admissions;
        let mut wait = Wait { begun: Instant::now(), histogram: &metrics.waits_abandoned };
        let found = self.cache.wait(namespace, name, deadline).await;
        wait.histogram = if found.is_some() { &metrics.waits_arrived } else { &metrics.waits_timed_out };
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

    async fn read_body(&self, request: Request<Incoming>) -> Result<Vec<u8>, BadBody> {
        let limit = self.limits.body_bytes;
        let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
        // Who asks first is told at once; what would not be read to its end is not begun.
        let asks_first = request.headers().contains_key(EXPECT);
        if announced > limit && (asks_first || announced > limit.saturating_mul(DISCARDED)) {
            return Err(BadBody::TooLarge);
        }
        match timeout(self.limits.body_time, collect(request.into_body(), announced, limit)).await {
            Ok(result) => result,
            Err(_) if announced > limit => Err(BadBody::TooLarge),
            Err(_) => Err(BadBody::TooSlow),
        }
    }
}

/// An admission that was understood.
enum Answered {
    Allowed(Answer),
    Unknown(Outcome),
}

impl Answered {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Allowed(answer) => answer.outcome,
            Self::Unknown(outcome) => *outcome,
        }
    }
}

thread_local! {
    /// One is enough for each thread: only requests that wait hold theirs across an await.
    static SCRATCH: Cell<Option<Scratch>> = const { Cell::new(None) };
}

/// Reads a whole body. One that is too large is read on for a while and thrown away: a peer that is still sending
/// would otherwise meet a reset instead of the answer.
async fn collect(mut body: Incoming, announced: usize, limit: usize) -> Result<Vec<u8>, BadBody> {
    let mut collected =
        Vec::with_capacity(announced.min(limit).min(MAX_INITIAL_CAPACITY) + admission::PADDING);
    let mut received = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BadBody::Broken)?.into_data() else { continue };
        received += data.len();
        if received.max(announced) <= limit {
            collected.extend_from_slice(&data);
        } else if received <= limit.saturating_mul(DISCARDED) {
            collected = Vec::new();
        } else {
            break;
        }
    }
    if received > limit { Err(BadBody::TooLarge) } else { Ok(collected) }
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let media_type = text(CONTENT_TYPE).and_then(|value| value.split(';').next()).unwrap_or_default();
    media_type.trim().eq_ignore_ascii_case("application/json")
        && text(CONTENT_ENCODING).is_none_or(|encoding| encoding.eq_ignore_ascii_case("identity"))
}

fn unavailable(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NotSynced => "the ServiceAccounts have not been listed yet; try again",
        _ => "the pod's ServiceAccount has not been seen yet; try again",
    }
}

/// Counts an admission when it is dropped, be it answered or abandoned.
struct Record<'a> {
    metrics: &'a AdmissionMetrics,
    begun: Instant,
    operation: Operation,
    outcome: Outcome,
}

impl<'a> Record<'a> {
    fn begin(metrics: &'a AdmissionMetrics) -> Self {
        metrics.in_flight.inc();
        let (operation, outcome) = (Operation::Unknown, Outcome::Abandoned);
        Self { metrics, begun: Instant::now(), operation, outcome }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        self.metrics.count(self.operation, self.outcome);
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
