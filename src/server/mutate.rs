//! The webhook's port: HTTP around the core.

use std::{cell::Cell, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::{
    Method, Request, StatusCode,
    body::{Body, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap},
};
use prometheus::IntGauge;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::{connection::Handler, listen::Listener, reply::Reply};
use crate::{
    accounts::{binding::Account, cache::Cache},
    admission::{self, Answer, BadReview, Operation, Outcome, PodRequest, Scratch, Webhook},
    metrics::Metrics,
};

/// Room made for a body before its first byte has come, at most.
const MAX_INITIAL_CAPACITY: usize = 1 << 20;

/// Buffers that have held more than this are not kept.
const MAX_KEPT_BODY: usize = 1 << 20;

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
        match self.read_body(request.into_body()).await {
            Ok(mut body) => self.admit(&mut body, grace).await,
            Err(BadBody::TooLarge) => {
                let limit = self.limits.body_bytes;
                Reply::text(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {limit} bytes"))
            }
            Err(BadBody::TooSlow) => Reply::text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            Err(BadBody::Broken(error)) => {
                Reply::text(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"))
            }
        }
    }

    /// Answers one admission, and counts it.
    async fn admit(&self, body: &mut Vec<u8>, grace: Duration) -> Reply {
        let started = Instant::now();
        let metrics = &self.metrics.admissions;
        let _in_flight = InFlight::count(&metrics.in_flight);
        let body_len = body.len();
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let mut operation = Operation::Unknown;
        let result = self.answer(body, &mut scratch, started + grace, &mut operation).await;
        if body_len <= MAX_KEPT_BODY {
            SCRATCH.set(Some(scratch));
        }
        let (outcome, reply) = match result {
            Ok(Answered::Allowed(answer)) => (answer.outcome, Reply::ok("application/json", answer.body)),
            Ok(Answered::Unknown(outcome)) => (outcome, Reply::retry_later(unavailable(outcome))),
            Err(error) => {
                debug!(%error, "request refused");
                (Outcome::BadReview, Reply::text(StatusCode::BAD_REQUEST, error.to_string()))
            }
        };
        metrics.count(operation, outcome);
        metrics.duration.observe(started.elapsed().as_secs_f64());
        reply
    }

    async fn answer(
        &self,
        body: &mut Vec<u8>,
        scratch: &mut Scratch,
        deadline: Instant,
        operation: &mut Operation,
    ) -> Result<Answered, BadReview> {
        let document = scratch.parse(body)?;
        let request = self.webhook.read(&document)?;
        *operation = request.operation();
        let answered = match &request {
            admission::Request::Exempt(exempt) => Answered::Allowed(self.webhook.allow(exempt)),
            admission::Request::Pod(pod) => match self.look_up(pod, deadline).await {
                Ok(account) => Answered::Allowed(self.webhook.answer(pod, &account, scratch)?),
                Err(outcome) => Answered::Unknown(outcome),
            },
        };
        debug!(
            uid = request.uid(),
            namespace = request.namespace(),
            pod = request.name(),
            operation = operation.as_str(),
            outcome = answered.outcome().as_str(),
            reason = answered.outcome().reason(),
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
        let began = Instant::now();
        let found = self.cache.wait(namespace, name, deadline).await;
        let metrics = &self.metrics.admissions;
        let waits = if found.is_some() { &metrics.waits_arrived } else { &metrics.waits_timed_out };
        waits.observe(began.elapsed().as_secs_f64());
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

    async fn read_body(&self, body: Incoming) -> Result<Vec<u8>, BadBody> {
        timeout(self.limits.body_time, collect(body, self.limits.body_bytes))
            .await
            .unwrap_or(Err(BadBody::TooSlow))
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
async fn collect(mut body: Incoming, limit: usize) -> Result<Vec<u8>, BadBody> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut collected =
        Vec::with_capacity(announced.min(limit).min(MAX_INITIAL_CAPACITY) + admission::PADDING);
    let mut discarded = 0;
    let mut is_too_large = announced > limit;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BadBody::Broken)?.into_data() else { continue };
        is_too_large |= collected.len() + data.len() > limit;
        if is_too_large {
            collected = Vec::new();
            discarded += data.len();
            if discarded > limit.saturating_mul(2) {
                break;
            }
        } else {
            collected.extend_from_slice(&data);
        }
    }
    if is_too_large { Err(BadBody::TooLarge) } else { Ok(collected) }
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

/// Counts a request as in flight until it is dropped, be it answered or abandoned.
struct InFlight<'a>(&'a IntGauge);

impl<'a> InFlight<'a> {
    fn count(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
