//! Metrics of connections and HTTP.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Registry};

use super::{Label, counters, opts, register};

/// The status codes that `/mutate` answers with; any other is counted as `other`.
const CODES: [u16; 9] = [200, 400, 404, 405, 408, 413, 415, 500, 503];

/// Why connections end.
pub const CLOSE_REASONS: [&str; 7] =
    ["finished", "broken", "idle", "slow_header", "slow_read", "evicted", "drained"];

/// Metrics of connections and HTTP.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: [IntCounter; 2],
    responses: Vec<IntCounter>,
    closed: IntCounterVec,
    /// Connections that are open.
    pub connections_open: IntGauge,
    /// Connections that may be open.
    pub connections_limit: IntGauge,
    /// Connections that were accepted.
    pub connections: IntCounter,
    /// Errors of `accept`, such as too many open files.
    pub accept_errors: IntCounter,
    /// Handshakes that were completed.
    pub handshakes_ok: IntCounter,
    /// Handshakes that failed.
    pub handshakes_failed: IntCounter,
    /// Handshakes that took too long.
    pub handshakes_timed_out: IntCounter,
    /// Handshakes that were broken off to make room for another connection.
    pub handshakes_evicted: IntCounter,
}

impl HttpMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "HTTP responses to whole requests on the webhook's port, by status code.";
        let codes: Vec<_> = CODES.iter().map(u16::to_string).chain(["other".to_owned()]).collect();
        let responses = counters(registry, ("http_responses_total", help), "code", &codes);
        let help = "HTTP requests on the webhook's port, by protocol.";
        let protocols = ["http1", "http2"];
        let requests = counters(registry, ("http_requests_total", help), "protocol", &protocols);
        let help = "TLS handshakes, by how they ended.";
        let results = ["ok", "failed", "timed_out", "evicted"];
        let handshakes = counters(registry, ("tls_handshakes_total", help), "result", &results);
        let help = "Connections that ended after their handshake, by why.";
        let closed = counters(registry, ("connections_closed_total", help), "reason", &CLOSE_REASONS);
        let counter = |name, help| register(registry, IntCounter::with_opts(opts(name, help)));
        let open = IntGauge::with_opts(opts("connections_open", "Open connections on the webhook's port."));
        let help = "Connections that may be open on the webhook's port.";
        let limit = IntGauge::with_opts(opts("connections_limit", help));
        Self {
            requests: protocols.map(|protocol| requests.with_label_values(&[protocol])),
            responses: codes.iter().map(|code| responses.with_label_values(&[code])).collect(),
            closed,
            connections_open: register(registry, open),
            connections_limit: register(registry, limit),
            connections: counter("connections_total", "Connections accepted on the webhook's port."),
            accept_errors: counter("accept_errors_total", "Failures to accept a connection."),
            handshakes_ok: handshakes.with_label_values(&["ok"]),
            handshakes_failed: handshakes.with_label_values(&["failed"]),
            handshakes_timed_out: handshakes.with_label_values(&["timed_out"]),
            handshakes_evicted: handshakes.with_label_values(&["evicted"]),
        }
    }

    /// Counts a request.
    pub fn request(&self, is_http2: bool) {
        self.requests[usize::from(is_http2)].inc();
    }

    /// Counts a response.
    pub fn response(&self, code: u16) {
        let index = CODES.iter().position(|&known| known == code).unwrap_or(CODES.len());
        self.responses[index].inc();
    }

    /// Counts the end of a connection.
    pub fn closed(&self, reason: impl Label) {
        self.closed.with_label_values(&[reason.label()]).inc();
    }
}
