//! The authorities that the webhook configuration publishes, and since when.

use std::time::{Duration, Instant, SystemTime};

use base64_simd::STANDARD;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

use super::{certificate::Certificate, policy::Policy};

type Bundle = Vec<CertificateDer<'static>>;

/// The `caBundle` of each entry of the webhook configuration, as last seen.
///
/// The time since an authority was published is measured on this process's monotonic clock, from when it first saw the
/// authority, and starts again when the authority was missing. A wrong clock, a wiped `caBundle` or a restart make a
/// rotation wait longer, never shorter.
#[derive(Debug, Default)]
pub struct Publication {
    entries: Vec<Bundle>,
    since: Vec<(CertificateDer<'static>, Instant)>,
}

impl Publication {
    /// Records the configuration as it is at this moment; `None` if it does not exist.
    pub fn observe(&mut self, configuration: Option<&Value>, at: Instant) {
        let entries = configuration.and_then(|object| object["webhooks"].as_array());
        self.entries = entries.into_iter().flatten().map(bundle).collect();
        let everywhere = self.entries.first().into_iter().flatten();
        let everywhere = everywhere.filter(|der| self.entries.iter().all(|bundle| bundle.contains(der)));
        self.since = everywhere
            .map(|der| {
                let known = self.since.iter().find(|(known, _)| known == der);
                (der.clone(), known.map_or(at, |(_, since)| *since))
            })
            .collect();
    }

    /// How long every entry has held this authority; `None` if one does not hold it.
    pub fn age(&self, authority: &Certificate, at: Instant) -> Option<Duration> {
        let (_, since) = self.since.iter().find(|(der, _)| der == authority.der())?;
        Some(at.saturating_duration_since(*since))
    }

    /// Whether an entry holds other authorities than these.
    pub fn differs_from<'a>(&self, authorities: impl Iterator<Item = &'a Certificate>) -> bool {
        let wanted: Vec<_> = authorities.map(Certificate::der).collect();
        self.entries.iter().any(|bundle| {
            bundle.len() != wanted.len() || !wanted.iter().all(|wanted| bundle.contains(wanted))
        })
    }

    /// Whether kube-apiserver trusts this leaf, whichever entry it calls.
    pub fn covers(&self, leaf: &Certificate, policy: &Policy, now: SystemTime) -> bool {
        let names = policy.server_names();
        !self.entries.is_empty() && self.entries.iter().all(|bundle| leaf.is_trusted_by(bundle, &names, now))
    }
}

/// The authorities of an entry; none if it can't be parsed, so that it is repaired.
fn bundle(entry: &Value) -> Bundle {
    let text = entry["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    let pem = STANDARD.decode_to_vec(text).unwrap_or_default();
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap_or_default()
}

/// The JSON Patch that publishes these authorities in every entry. It changes only `caBundle`, only in entries that are
/// wrong, and applies only to the observed version of the configuration.
pub fn patch<'a>(configuration: &Value, authorities: impl Iterator<Item = &'a Certificate>) -> Value {
    let pem: String = authorities.map(Certificate::pem).collect();
    let bundle = STANDARD.encode_to_string(pem);
    let version = &configuration["metadata"]["resourceVersion"];
    let mut operations =
        vec![serde_json::json!({"op": "test", "path": "/metadata/resourceVersion", "value": version})];
    let entries = configuration["webhooks"].as_array().into_iter().flatten().enumerate();
    let wrong = entries.filter(|(_, entry)| entry["clientConfig"]["caBundle"] != *bundle);
    operations.extend(wrong.map(|(index, _)| {
        let path = format!("/webhooks/{index}/clientConfig/caBundle");
        serde_json::json!({"op": "add", "path": path, "value": bundle})
    }));
    operations.into()
}
