//! For whom certificates are made, how long they live, and when they are renewed.

use std::time::{Duration, SystemTime};

use rustls_pki_types::{DnsName, ServerName};

use super::certificate::Certificate;

/// The share of its life after which a certificate is renewed.
const DUE: f64 = 2.0 / 3.0;

/// By how much of its life replicas put a renewal off at most, so that one does it and the others see it done.
const JITTER: f64 = 0.1;

/// For whom certificates are made and how they are rotated.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The DNS names of the Service, the one that kube-apiserver asks for first. Flags are checked for being DNS names.
    pub names: Vec<String>,
    /// How long an authority is valid.
    pub authority_validity: Duration,
    /// How long a leaf is valid.
    pub leaf_validity: Duration,
    /// How long a new authority is published before a leaf that it signed is used.
    pub overlap: Duration,
    /// This replica's share of the jitter, from 0 to 1.
    pub jitter: f64,
}

impl Policy {
    /// The names of a Service, as a caller in the cluster may write them. kube-apiserver asks for `<service>.<ns>.svc`.
    pub fn names(service: &str, namespace: &str, cluster_domain: &str) -> Vec<String> {
        let short = format!("{service}.{namespace}");
        vec![format!("{short}.svc"), format!("{short}.svc.{cluster_domain}"), short]
    }

    /// When a certificate is to be renewed.
    pub fn due(&self, certificate: &Certificate) -> SystemTime {
        certificate.at_share_of_life(DUE + JITTER * self.jitter)
    }

    /// The name that a leaf has to have: the first, which kube-apiserver asks for.
    ///
    /// Were it all of them, replicas that were given different cluster domains, as in the middle of a rollout, would
    /// replace each other's leaves as fast as they can write, until the Secret holds no more of what was retired.
    pub(super) fn server_names(&self) -> Vec<ServerName<'_>> {
        let name = |name: &'_ String| DnsName::try_from(name.clone()).ok().map(ServerName::DnsName);
        self.names.first().and_then(name).into_iter().collect()
    }
}
