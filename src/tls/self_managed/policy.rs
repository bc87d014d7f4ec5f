//! The names and lifetimes of certificates, and when they are renewed.

use std::time::{Duration, SystemTime};

use rustls_pki_types::ServerName;

use super::certificate::Certificate;

/// The share of its lifetime after which a certificate is renewed.
const DUE: f64 = 2.0 / 3.0;

/// The largest share of the lifetime by which a replica delays a renewal, so that one replica does it first.
const JITTER: f64 = 0.1;

/// The names and lifetimes of certificates, and when they are renewed.
#[derive(Clone, Debug)]
pub struct Policy {
    /// DNS names and IP addresses. The first is the one that kube-apiserver asks for.
    pub names: Vec<String>,
    /// How long an authority is valid.
    pub authority_validity: Duration,
    /// How long a leaf is valid.
    pub leaf_validity: Duration,
    /// How long a new authority is published before a leaf that it signed is served.
    pub overlap: Duration,
    /// This replica's share of the jitter, from 0 to 1.
    pub jitter: f64,
}

impl Policy {
    /// The names by which callers in the cluster reach a Service. kube-apiserver asks for `<service>.<ns>.svc`.
    pub fn names(service: &str, namespace: &str, cluster_domain: &str) -> Vec<String> {
        let short = format!("{service}.{namespace}");
        vec![format!("{short}.svc"), format!("{short}.svc.{cluster_domain}"), short]
    }

    /// When a certificate is due for renewal.
    pub fn due(&self, certificate: &Certificate) -> SystemTime {
        certificate.at_share_of_life(DUE + JITTER * self.jitter)
    }

    /// The name that a leaf must have: the first, which kube-apiserver asks for.
    ///
    /// Not all of them: during a rollout that changes the cluster domain, replicas would replace each other's leaves
    /// in turn.
    pub(super) fn server_names(&self) -> Vec<ServerName<'_>> {
        let first = self.names.first().map(String::as_str);
        first.and_then(|name| ServerName::try_from(name).ok()).into_iter().collect()
    }
}
