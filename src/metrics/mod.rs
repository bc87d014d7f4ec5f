//! Every metric: its name, labels and buckets. Handles are prepared once, so that nothing on the request path looks up
//! a label.

mod accounts;
mod admissions;
mod container_credentials;
mod http;
mod mapping;
mod namespaces;
mod process;
mod recordings;
mod self_managed;

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{
    Encoder, Gauge, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, core::Collector,
};

use self::process::ProcessCollector;
pub use self::{
    accounts::{ACCOUNT_STATES, AccountMetrics, SOURCE_FAILURES},
    admissions::AdmissionMetrics,
    container_credentials::ContainerCredentialsMetrics,
    http::{CLOSE_REASONS, HttpMetrics},
    mapping::{MAPPING_FAILURES, MappingMetrics},
    namespaces::{NamespaceCounters, NamespaceMetrics},
    recordings::RecordingMetrics,
    self_managed::{ROTATIONS, SELF_MANAGED_OPERATIONS, SelfManagedMetrics},
};

const PREFIX: &str = "pod_identity_webhook";

/// 5 µs to 10 s: an admission takes microseconds, one that waits for its account up to the grace.
const SECONDS_BUCKETS: [f64; 20] = [
    5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0,
];

/// The values of a label. Each is an enum that lives with its domain.
pub trait Label: Copy + 'static {
    /// Every value.
    const ALL: &[Self];

    /// The value as it is exposed.
    fn label(self) -> &'static str;
}

/// The exposed values of a label.
pub fn labels<L: Label>() -> Vec<&'static str> {
    L::ALL.iter().map(|value| value.label()).collect()
}

/// All metrics of the process.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    /// Whether requests should be sent here, as `/readyz` says.
    pub ready: IntGauge,
    /// Whether the process is on its way down.
    pub draining: IntGauge,
    /// Of the admissions.
    pub admissions: AdmissionMetrics,
    /// Of the accounts and where they come from.
    pub accounts: AccountMetrics,
    /// Of the certificate.
    pub tls: TlsMetrics,
    /// Of connections and HTTP.
    pub http: HttpMetrics,
    /// Of the requests recorded.
    pub recordings: RecordingMetrics,
    /// Log lines that were dropped because the queue was full.
    pub log_lines_dropped: IntCounter,
}

/// Metrics of the certificate.
#[derive(Clone, Debug)]
pub struct TlsMetrics {
    /// When the certificate in use expires, in seconds since the epoch.
    pub certificate_expiry: Gauge,
    /// Reloads that took effect.
    pub reloads_ok: IntCounter,
    /// Reloads that were refused.
    pub reloads_failed: IntCounter,
    /// Whether what the files hold is what is served.
    pub reload_successful: IntGauge,
    /// Of a self-managed certificate.
    pub self_managed: SelfManagedMetrics,
}

impl Metrics {
    /// Registers everything but what is counted by namespace.
    pub fn new() -> Self {
        Self::with_namespaces(0)
    }

    /// Registers everything. Admissions are counted by namespace as well, for the first `most` namespaces that are
    /// seen; none if that is 0.
    pub fn with_namespaces(most: usize) -> Self {
        let registry = Registry::new();
        let gauge = |name, help| register(&registry, IntGauge::with_opts(opts(name, help)));
        let help = "Retries of calls to the API server, by what is retried.";
        let watches = ["account_watch", "mapping_watch"];
        let retries = counters(&registry, ("retries_total", help), "operation", &watches);
        let help = "Log lines that were dropped because earlier ones were not read.";
        let log_lines_dropped = IntCounter::with_opts(opts("log_lines_dropped_total", help));
        let metrics = Self {
            ready: gauge("ready", "1 while requests should be sent here, as /readyz says."),
            draining: gauge("draining", "1 once the process shuts down."),
            admissions: AdmissionMetrics::new(&registry, most),
            accounts: AccountMetrics::new(&registry, &retries),
            tls: TlsMetrics::new(&registry, &retries),
            http: HttpMetrics::new(&registry),
            recordings: RecordingMetrics::new(&registry),
            log_lines_dropped: register(&registry, log_lines_dropped),
            registry,
        };
        let help = "The version that runs; always 1.";
        let info = register(&metrics.registry, IntGaugeVec::new(opts("build_info", help), &["version"]));
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let process = Box::new(ProcessCollector::new());
        metrics.registry.register(process).expect("process metrics have names of their own");
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

impl TlsMetrics {
    fn new(registry: &Registry, retries: &IntCounterVec) -> Self {
        let help = "When the certificate in use expires.";
        let expiry = Gauge::with_opts(opts("tls_certificate_expiry_timestamp_seconds", help));
        let help = "Changed certificate files, by whether they were taken into use.";
        let reloads = counters(registry, ("tls_reloads_total", help), "result", &["ok", "failed"]);
        let help = "1 unless the certificate files have changed to something that can't be used.";
        let successful = IntGauge::with_opts(opts("tls_last_reload_successful", help));
        let successful = register(registry, successful);
        successful.set(1);
        Self {
            certificate_expiry: register(registry, expiry),
            reloads_ok: reloads.with_label_values(&["ok"]),
            reloads_failed: reloads.with_label_values(&["failed"]),
            reload_successful: successful,
            self_managed: SelfManagedMetrics::new(registry, retries),
        }
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("{PREFIX}_{name}"), help)
}

fn histogram_opts(name: &str, help: &str) -> HistogramOpts {
    HistogramOpts::from(opts(name, help)).buckets(SECONDS_BUCKETS.to_vec())
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, collector: prometheus::Result<C>) -> C {
    let collector = collector.expect("names and labels are valid: they are written beside the call");
    registry.register(Box::new(collector.clone())).expect("names are unique: a test registers them all");
    collector
}

/// Counters by one label; those of `values` are exposed from the beginning.
fn counters(
    registry: &Registry,
    (name, help): (&str, &str),
    label: &str,
    values: &[impl AsRef<str>],
) -> IntCounterVec {
    let counters = register(registry, IntCounterVec::new(opts(name, help), &[label]));
    values.iter().for_each(|value| drop(counters.with_label_values(&[value.as_ref()])));
    counters
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
