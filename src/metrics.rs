//! Every metric: its name, labels and buckets. Handles are prepared once, so that nothing on the request path looks up
//! a label.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Encoder, Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder, core::Collector,
};

use crate::admission::{Operation, Outcome};

const PREFIX: &str = "pod_identity_webhook";

/// 5 µs to 10 s: an admission takes microseconds, one that waits for its account up to the grace.
const SECONDS_BUCKETS: [f64; 20] = [
    5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// The status codes that `/mutate` answers with; any other is counted as `other`.
const CODES: [u16; 9] = [200, 400, 404, 405, 408, 413, 415, 500, 503];

/// What can fail where accounts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFailure {
    /// Listing the accounts.
    List,
    /// Starting to watch them.
    WatchStart,
    /// The watch: the API server said so in an event.
    WatchEvent,
    /// The watch: its connection broke, or what came could not be read.
    WatchStream,
    /// An object without a resourceVersion.
    NoResourceVersion,
    /// Reading changed manifests.
    Manifests,
}

impl SourceFailure {
    const ALL: [Self; 6] = [
        Self::List,
        Self::WatchStart,
        Self::WatchEvent,
        Self::WatchStream,
        Self::NoResourceVersion,
        Self::Manifests,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::WatchStart => "watch_start",
            Self::WatchEvent => "watch_event",
            Self::WatchStream => "watch_stream",
            Self::NoResourceVersion => "no_resource_version",
            Self::Manifests => "manifests",
        }
    }
}

/// All metrics of the process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Of the admissions.
    pub admissions: AdmissionMetrics,
    /// Of the accounts and where they come from.
    pub accounts: AccountMetrics,
    /// Of the certificate.
    pub tls: TlsMetrics,
    /// Of connections and HTTP.
    pub http: HttpMetrics,
}

/// What is counted of admissions.
#[derive(Clone, Debug)]
pub struct AdmissionMetrics {
    by_outcome: Vec<IntCounter>,
    /// From the whole body read to the answer rendered, waits for accounts included.
    pub duration: Histogram,
    /// Being answered now.
    pub in_flight: IntGauge,
    /// Waits for an account that then came, in seconds.
    pub waits_arrived: Histogram,
    /// Waits for an account that did not come, in seconds.
    pub waits_timed_out: Histogram,
    /// Waits that the caller broke off, in seconds.
    pub waits_abandoned: Histogram,
    /// Waits that were not begun, since too many waited already.
    pub waits_refused: Histogram,
}

/// What is counted of the accounts.
#[derive(Clone, Debug)]
pub struct AccountMetrics {
    annotated: IntGauge,
    unannotated: IntGauge,
    applied: IntCounter,
    deleted: IntCounter,
    failures: [IntCounter; SourceFailure::ALL.len()],
    lists: IntCounter,
    synced: IntGauge,
    last_sync: Gauge,
    last_event: Gauge,
}

/// What is counted of the certificate.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    /// When the certificate in use expires, in seconds since the epoch.
    pub certificate_expiry: Gauge,
    /// Reloads that took effect.
    pub reloads_ok: IntCounter,
    /// Reloads that were refused.
    pub reloads_failed: IntCounter,
}

/// What is counted of connections and HTTP.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    responses: Vec<IntCounter>,
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
}

impl Metrics {
    /// Registers everything.
    pub fn new() -> Self {
        let registry = Registry::new();
        let metrics = Self {
            admissions: AdmissionMetrics::new(&registry),
            accounts: AccountMetrics::new(&registry),
            tls: TlsMetrics::new(&registry),
            http: HttpMetrics::new(&registry),
            registry,
        };
        let help = "The version that runs; always 1.";
        let info = register(&metrics.registry, IntGaugeVec::new(opts("build_info", help), &["version"]));
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        {
            let process = prometheus::process_collector::ProcessCollector::for_self();
            metrics.registry.register(Box::new(process)).expect("process metrics have names of their own");
        }
        metrics
    }

    /// Everything in the text format, version 0.0.4.
    pub fn render(&self) -> Vec<u8> {
        let mut out = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut out)
            .expect("every metric was registered whole");
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl AdmissionMetrics {
    fn new(registry: &Registry) -> Self {
        let help = "Admission requests by what they wanted, what the pod got and why.";
        let labels = ["operation", "outcome", "reason"];
        let total = register(registry, IntCounterVec::new(opts("admissions_total", help), &labels));
        let by_outcome = Operation::ALL.iter().flat_map(|operation| {
            let total = &total;
            Outcome::ALL.iter().map(move |outcome| {
                total.with_label_values(&[operation.as_str(), outcome.as_str(), outcome.reason()])
            })
        });
        let help = "Time from the whole body read to the answer rendered, waits for accounts included.";
        let duration = Histogram::with_opts(histogram_opts("admission_duration_seconds", help));
        let help = "Waits for a ServiceAccount that the watch had not shown yet, by how they ended.";
        let waits = HistogramVec::new(histogram_opts("lookup_wait_duration_seconds", help), &["result"]);
        let waits = register(registry, waits);
        let help = "Admission requests being answered.";
        Self {
            by_outcome: by_outcome.collect(),
            duration: register(registry, duration),
            in_flight: register(registry, IntGauge::with_opts(opts("admissions_in_flight", help))),
            waits_arrived: waits.with_label_values(&["arrived"]),
            waits_timed_out: waits.with_label_values(&["timed_out"]),
            waits_abandoned: waits.with_label_values(&["abandoned"]),
            waits_refused: waits.with_label_values(&["refused"]),
        }
    }

    /// Counts an admission.
    pub fn count(&self, operation: Operation, outcome: Outcome) {
        self.by_outcome[operation as usize * Outcome::ALL.len() + outcome as usize].inc();
    }
}

impl AccountMetrics {
    fn new(registry: &Registry) -> Self {
        let help = "Known ServiceAccounts, by whether they name a role.";
        let accounts = register(registry, IntGaugeVec::new(opts("accounts", help), &["state"]));
        let help = "Changes of ServiceAccounts seen after the first list.";
        let events = register(registry, IntCounterVec::new(opts("watch_events_total", help), &["type"]));
        let help = "Failures of the watch, or of reading the manifests, by what failed.";
        let errors = register(registry, IntCounterVec::new(opts("watch_errors_total", help), &["reason"]));
        let gauge = |name, help| register(registry, Gauge::with_opts(opts(name, help)));
        let lists = IntCounter::with_opts(opts("watch_lists_total", "Lists of all ServiceAccounts begun."));
        let synced = IntGauge::with_opts(opts("watch_synced", "1 once the first list is complete."));
        Self {
            annotated: accounts.with_label_values(&["annotated"]),
            unannotated: accounts.with_label_values(&["unannotated"]),
            applied: events.with_label_values(&["applied"]),
            deleted: events.with_label_values(&["deleted"]),
            failures: SourceFailure::ALL.map(|failure| errors.with_label_values(&[failure.as_str()])),
            lists: register(registry, lists),
            synced: register(registry, synced),
            last_sync: gauge("watch_last_sync_timestamp_seconds", "When the last list was completed."),
            last_event: gauge("watch_last_event_timestamp_seconds", "When the last change was seen."),
        }
    }

    /// Counts a list begun.
    pub fn list_begun(&self) {
        self.lists.inc();
    }

    /// Counts a list completed.
    pub fn list_ended(&self) {
        self.synced.set(1);
        self.last_sync.set(now());
    }

    /// Counts an account added or changed.
    pub fn applied(&self) {
        self.applied.inc();
        self.last_event.set(now());
    }

    /// Counts an account deleted.
    pub fn deleted(&self) {
        self.deleted.inc();
        self.last_event.set(now());
    }

    /// Tells how many accounts are known.
    pub fn known(&self, annotated: usize, unannotated: usize) {
        self.annotated.set(annotated as i64);
        self.unannotated.set(unannotated as i64);
    }

    /// Counts a failure.
    pub fn failed(&self, failure: SourceFailure) {
        self.failures[failure as usize].inc();
    }
}

impl TlsMetrics {
    fn new(registry: &Registry) -> Self {
        let help = "When the certificate in use expires.";
        let expiry = Gauge::with_opts(opts("tls_certificate_expiry_timestamp_seconds", help));
        let help = "Changed certificate files, by whether they were taken into use.";
        let reloads = IntCounterVec::new(opts("tls_reloads_total", help), &["result"]);
        let reloads = register(registry, reloads);
        Self {
            certificate_expiry: register(registry, expiry),
            reloads_ok: reloads.with_label_values(&["ok"]),
            reloads_failed: reloads.with_label_values(&["failed"]),
        }
    }
}

impl HttpMetrics {
    fn new(registry: &Registry) -> Self {
        let help = "HTTP responses to whole requests on the webhook's port, by status code.";
        let responses = register(registry, IntCounterVec::new(opts("http_responses_total", help), &["code"]));
        let help = "TLS handshakes, by how they ended.";
        let handshakes = IntCounterVec::new(opts("tls_handshakes_total", help), &["result"]);
        let handshakes = register(registry, handshakes);
        let counter = |name, help| register(registry, IntCounter::with_opts(opts(name, help)));
        let open = IntGauge::with_opts(opts("connections_open", "Open connections on the webhook's port."));
        let help = "Connections that may be open on the webhook's port.";
        let limit = IntGauge::with_opts(opts("connections_limit", help));
        let codes = CODES.iter().map(u16::to_string).chain(["other".to_owned()]);
        Self {
            responses: codes.map(|code| responses.with_label_values(&[&*code])).collect(),
            connections_open: register(registry, open),
            connections_limit: register(registry, limit),
            connections: counter("connections_total", "Connections accepted on the webhook's port."),
            accept_errors: counter("accept_errors_total", "Failures to accept a connection."),
            handshakes_ok: handshakes.with_label_values(&["ok"]),
            handshakes_failed: handshakes.with_label_values(&["failed"]),
            handshakes_timed_out: handshakes.with_label_values(&["timed_out"]),
        }
    }

    /// Counts a response.
    pub fn response(&self, code: u16) {
        let index = CODES.iter().position(|&known| known == code).unwrap_or(CODES.len());
        self.responses[index].inc();
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}_{name}"), help)
}

fn histogram_opts(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::from(opts(name, help)).buckets(SECONDS_BUCKETS.to_vec())
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("names and labels are valid: they are written in this file");
    registry.register(Box::new(collector.clone())).expect("names are unique: they are written in this file");
    collector
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
