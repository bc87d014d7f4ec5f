//! The webhook's port: HTTP around the core.

use std::{cell::Cell, sync::Arc, time::Duration};

use hyper::{
    Method, Request, StatusCode, Uri,
    body::{Body, Incoming},
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};
use tracing::debug;

use super::{
    Timeouts,
    activity::{Activity, Exchange, Protocol},
    body::{self, BadBody, Held},
    connection::{self, Handler},
    listen::Listener,
    memory::{Claim, FREE, Memory},
    record::{Record, Wait},
    reply::Reply,
    turns::Turns,
    waits::Waits,
};
use crate::{
    accounts::cache::Cache,
    admission::{self, Answer, BadReview, Buffers, Operation, Outcome, PodRequest, Webhook},
    injection::{account::Account, warning::Warned},
    lifecycle::Drain,
    metrics::Metrics,
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
    /// How many bytes requests may hold together, beyond what each may hold unasked.
    pub memory: usize,
    /// How many requests of HTTP/2 may be under way.
    pub streams: usize,
    /// How many threads answer requests.
    pub threads: usize,
}

/// How many bytes of buffers are kept for the next requests, by all threads together.
const KEPT: usize = 16 << 20;

/// Answers admission requests.
#[derive(Clone, Debug)]
pub struct Mutate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    webhook: Webhook,
    cache: Arc<Cache>,
    limits: RequestLimits,
    waits: Waits,
    turns: Turns,
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
        let (waits, memory) = (Waits::new(limits.waits), Memory::new(limits.memory, limits.streams));
        Self(Arc::new(Inner {
            webhook,
            cache,
            limits,
            waits,
            turns: Turns::default(),
            memory,
            metrics,
            recorder,
        }))
    }

    /// Serves until the drain closes and every connection has ended.
    pub async fn serve(self, listener: Listener) {
        listener.serve(self).await;
    }

    /// Serves one open connection, over any transport, until it ends.
    pub async fn serve_connection<IO>(self, io: IO, protocol: Protocol, timeouts: Timeouts, drain: Drain)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        connection::serve(io, protocol, self, Activity::new(), timeouts, drain).await;
    }
}

impl Handler for Mutate {
    async fn handle(&self, request: Request<Incoming>, exchange: &Exchange) -> Reply {
        self.0.metrics.http.request(exchange.protocol() == Protocol::Http2);
        let reply = match (request.uri().path(), request.method()) {
            ("/mutate", &Method::POST) if is_json(request.headers()) => {
                self.0.mutate(request, exchange).await
            }
            _ => without_body(&request),
        };
        self.0.metrics.http.response(reply.status().as_u16());
        reply
    }
}

/// The answer to a request whose body is not read. A body that is still to come stands before the next request, so it
/// ends the connection.
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
    async fn mutate(&self, request: Request<Incoming>, exchange: &Exchange) -> Reply {
        let (head, body) = request.into_parts();
        let RequestLimits { body_bytes, body_time, .. } = self.limits;
        let claim = match exchange.protocol() {
            Protocol::Http1 => Some(self.memory.claim()),
            Protocol::Http2 => self.memory.claim_of_stream(),
        };
        let read = match claim {
            Some(claim) => body::read(&head.headers, body, body_bytes, body_time, (claim, exchange)).await,
            None => Err(BadBody::NoMemory),
        };
        exchange.begin_answer();
        match read {
            Ok(held) => self.admit(held, &head.uri).await,
            Err(error) => {
                if matches!(error, BadBody::NoMemory) {
                    self.metrics.admissions.count(Operation::Unknown, Outcome::NoMemory, Warned::default());
                }
                error.reply(body_bytes)
            }
        }
    }

    /// Answers one admission.
    async fn admit(&self, mut held: Held, uri: &Uri) -> Reply {
        let mut record = Record::begin(&self.metrics.admissions);
        let mut buffers = BUFFERS.take().unwrap_or_default();
        let copied = self.recorder.as_ref().and_then(|recorder| recorder.copy(&held.bytes));
        let result = match self.fast_path(&held.bytes, &mut buffers, &mut record) {
            Some(outcome) => Ok(outcome),
            None => self.answer(&mut held, &mut buffers, uri, &mut record).await,
        };
        let reply = self.reply(result, held, &buffers, &mut record);
        if let Some(copied) = copied.filter(|_| record.is_recordable && reply.status() == StatusCode::OK) {
            copied.answered(record.operation, record.outcome);
        }
        self.keep(buffers);
        reply
    }

    /// The reply with this result. It holds the memory of its body.
    fn reply(
        &self,
        result: Result<Outcome, BadReview>,
        held: Held,
        buffers: &Buffers,
        record: &mut Record<'_>,
    ) -> Reply {
        match result {
            Ok(Outcome::NotSynced) => {
                Reply::retry_later("the ServiceAccounts have not been listed yet; try again")
            }
            Ok(Outcome::UnknownAccount) => {
                Reply::retry_later("the pod's ServiceAccount has not been seen yet; try again")
            }
            Ok(Outcome::NoMemory) => body::no_memory(),
            Ok(_) => match response(held, buffers) {
                Some((body, claim)) => {
                    record.warned = buffers.warned();
                    Reply::holding("application/json", body.into(), claim.some())
                }
                None => {
                    record.outcome = Outcome::NoMemory;
                    body::no_memory()
                }
            },
            Err(error) => {
                record.outcome = Outcome::BadReview;
                debug!(%error, "request refused");
                Reply::text(StatusCode::BAD_REQUEST, error.to_string())
            }
        }
    }

    /// Keeps buffers for the thread's next request, unless they have grown beyond the thread's share.
    fn keep(&self, buffers: Buffers) {
        if buffers.memory() <= KEPT / self.limits.threads {
            BUFFERS.set(Some(buffers));
        }
    }

    /// Answers for a pod without a role, without parsing its request.
    fn fast_path(&self, body: &[u8], buffers: &mut Buffers, record: &mut Record<'_>) -> Option<Outcome> {
        let look_up = |namespace: &str, name: &str| self.cache.look_up(namespace, name);
        let (request, outcome) = self.webhook.fast_path(body, look_up, buffers)?;
        record.is_for(request.namespace());
        record.ends(Operation::Create, outcome, (request.uid(), request.namespace(), request.name()));
        Some(outcome)
    }

    async fn answer(
        &self,
        held: &mut Held,
        buffers: &mut Buffers,
        uri: &Uri,
        record: &mut Record<'_>,
    ) -> Result<Outcome, BadReview> {
        if !held.claim_parsing() {
            record.outcome = Outcome::NoMemory;
            return Ok(Outcome::NoMemory);
        }
        let Held { bytes, claim, .. } = held;
        let received = bytes.len();
        let document = buffers.parse(bytes)?;
        let request = self.webhook.read(&document)?;
        record.operation = request.operation();
        record.is_for(request.namespace());
        record.is_recordable = request.is_for_pod();
        let outcome = match self.answer_if_known(&request, buffers)? {
            Answer::Rendered(outcome) => outcome,
            Answer::AccountUnknown(pod) => {
                // A request that waits holds its body and its tape, and nothing else.
                self.keep(std::mem::take(buffers));
                let deadline = record.begun + self.grace(uri.query());
                let account = self.wait(pod, deadline, claim, received + document.memory()).await;
                *buffers = BUFFERS.take().unwrap_or_default();
                match account {
                    Ok(account) => {
                        let _turn = self.turns.take();
                        self.webhook.answer_pod(pod, &account, buffers)?
                    }
                    Err(outcome) => outcome,
                }
            }
        };
        record.ends(request.operation(), outcome, (request.uid(), request.namespace(), request.name()));
        buffers.recycle(document);
        Ok(outcome)
    }

    fn answer_if_known<'r, 'a>(
        &self,
        request: &'r admission::Request<'a>,
        buffers: &mut Buffers,
    ) -> Result<Answer<'r, 'a>, BadReview> {
        let _turn = self.turns.take();
        self.webhook.answer(request, |namespace, name| self.cache.look_up(namespace, name), buffers)
    }

    /// Waits for the unknown account of a pod. `held` is how many bytes the request holds meanwhile.
    async fn wait(
        &self,
        pod: &PodRequest<'_>,
        deadline: Instant,
        claim: &mut Claim,
        held: usize,
    ) -> Result<Account, Outcome> {
        let (namespace, name) = (pod.namespace(), pod.service_account());
        let metrics = &self.metrics.admissions;
        let mut wait = Wait { begun: Instant::now(), histogram: &metrics.waits_abandoned };
        let mut found = None;
        // A wait lasts longer than an answer: all that it holds is claimed, however little.
        if let (Some(_waiting), true) = (self.waits.enter(namespace), claim.covers(held + FREE)) {
            found = self.cache.wait(namespace, name, deadline).await;
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
    /// One is enough for each thread: no request holds one across an await.
    static BUFFERS: Cell<Option<Buffers>> = const { Cell::new(None) };
}

/// The body of the response, and a claim that covers only it; `None` if memory is short.
fn response(held: Held, buffers: &Buffers) -> Option<(Vec<u8>, Claim)> {
    let Held { bytes: mut body, mut claim, .. } = held;
    if body.capacity() > FREE {
        body = Vec::new();
    }
    buffers.take_response(&mut body);
    claim.covers(body.capacity()).then_some((body, claim))
}

/// Whether the body is JSON as it is. A header that comes twice has to say so twice.
fn is_json(headers: &HeaderMap) -> bool {
    let texts = |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let mut media_types = texts(CONTENT_TYPE).map(|text| text.split(';').next().unwrap_or_default().trim());
    media_types.next().is_some_and(|media_type| media_type.eq_ignore_ascii_case("application/json"))
        && media_types.next().is_none()
        && texts(CONTENT_ENCODING).all(|encoding| encoding.eq_ignore_ascii_case("identity"))
        && texts(TRANSFER_ENCODING).all(|coding| coding.eq_ignore_ascii_case("chunked"))
}
