//! What the webhook configuration publishes, and for how long it has.

use std::time::{Duration, Instant, SystemTime};

use base64_simd::STANDARD;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::Value;

use super::{certificate::Certificate, policy::Policy};

type Bundle = Vec<CertificateDer<'static>>;

/// The `caBundle` of each entry of the webhook configuration, as last seen.
///
/// How long an authority has been published is measured here, by this process's own steady clock from when it saw it,
/// and begins anew when it is seen missing: a clock that is wrong, a wiped `caBundle` or a restart make a rotation
/// wait longer, never shorter.
#[derive(Debug, Default)]
pub struct Publication {
    entries: Vec<Bundle>,
    since: Vec<(CertificateDer<'static>, Instant)>,
}

impl Publication {
    /// Takes note of the configuration as it is at that moment, or of that there is none.
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

    /// For how long every entry has held this authority; `None` if one does not.
    pub fn age(&self, authority: &Certificate, at: Instant) -> Option<Duration> {
        let (_, since) = self.since.iter().find(|(der, _)| der == authority.der())?;
        Some(at.saturating_duration_since(*since))
    }

    /// Whether there is an entry that does not hold these authorities and nothing else.
    pub fn differs_from<'a>(&self, authorities: impl Iterator<Item = &'a Certificate>) -> bool {
        let wanted: Vec<_> = authorities.map(Certificate::der).collect();
        self.entries.iter().any(|bundle| {
            bundle.len() != wanted.len() || !wanted.iter().all(|wanted| bundle.contains(wanted))
        })
    }

    /// Whether kube-apiserver takes this leaf, whichever entry it calls for.
    pub fn covers(&self, leaf: &Certificate, policy: &Policy, now: SystemTime) -> bool {
        let names = policy.server_names();
        !self.entries.is_empty() && self.entries.iter().all(|bundle| leaf.is_trusted_by(bundle, &names, now))
    }
}

/// The authorities of an entry. One that can't be read holds none, and is thereby put right.
fn bundle(entry: &Value) -> Bundle {
    let text = entry["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    let pem = STANDARD.decode_to_vec(text).unwrap_or_default();
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap_or_default()
}

/// The JSON Patch that publishes these authorities in every entry: nothing but `caBundle`, and only if the
/// configuration is still the one that was seen. Entries that are right are left alone.
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
