//! Metrics of `--record`.

use prometheus::{IntCounter, IntGauge, Registry};

use super::{counters, opts, register};

/// Metrics of the requests recorded.
#[derive(Clone, Debug)]
pub struct RecordingMetrics {
    /// Whether requests are being recorded.
    pub active: IntGauge,
    /// Requests that were written.
    pub written: IntCounter,
    /// Requests that the queue had no room for, or that could not be read to be redacted.
    pub dropped: IntCounter,
    /// Requests that could not be written, the first of which ends the recording.
    pub failed: IntCounter,
}

impl RecordingMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "1 while answered requests are recorded: --record is given and no bound is reached.";
        let active = IntGauge::with_opts(opts("recording_active", help));
        let help = "Answered requests to be recorded, by result.";
        let results = ["written", "dropped", "failed"];
        let total = counters(registry, ("recordings_total", help), "result", &results);
        Self {
            active: register(registry, active),
            written: total.with_label_values(&["written"]),
            dropped: total.with_label_values(&["dropped"]),
            failed: total.with_label_values(&["failed"]),
        }
    }
}
