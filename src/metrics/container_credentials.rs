//! Metrics of the accounts with container credentials.

use prometheus::{IntCounter, IntGauge, Registry};

use super::{counters, opts, register};

/// Metrics of the file that lists them.
#[derive(Clone, Debug)]
pub struct ContainerCredentialsMetrics {
    listed: IntGauge,
    ok: IntCounter,
    failed: IntCounter,
    successful: IntGauge,
}

impl ContainerCredentialsMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let help = "Accounts that the file of container credentials lists.";
        let listed = register(registry, IntGauge::with_opts(opts("container_credentials_identities", help)));
        let help = "Reads of the file of container credentials, by whether what it holds was taken into use.";
        let loads = ("container_credentials_loads_total", help);
        let loads = counters(registry, loads, "result", &["ok", "failed"]);
        let help = "1 unless the file of container credentials has changed to something that can't be used.";
        let successful = IntGauge::with_opts(opts("container_credentials_last_load_successful", help));
        let successful = register(registry, successful);
        successful.set(1);
        let result = |result| loads.with_label_values(&[result]);
        Self { listed, ok: result("ok"), failed: result("failed"), successful }
    }

    /// So many accounts are in use now.
    pub fn took(&self, accounts: usize) {
        self.listed.set(accounts as i64);
        self.ok.inc();
        self.successful.set(1);
    }

    /// Counts a file that can't be used.
    pub fn failed(&self) {
        self.failed.inc();
        self.successful.set(0);
    }
}
