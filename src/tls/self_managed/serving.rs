//! The leaf that is served: the newest that kube-apiserver takes.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::watch;
use tracing::warn;

use super::{authority::Leaf, policy::Policy, publication::Publication};
use crate::{
    kube::object::Seen,
    lifecycle::NotReadyReason,
    metrics::{SelfManagedOperation, TlsMetrics},
    tls::{self, Clients},
};

/// What a listener and the probe are told.
#[derive(Clone, Debug)]
pub struct Certified {
    /// What connections are served with: without a certificate at first.
    pub config: Arc<ArcSwap<ServerConfig>>,
    /// Why kube-apiserver does not take the certificate, if it does not.
    pub obstacle: NotReadyReason,
}

/// The leaf that is served.
#[derive(Debug)]
pub(super) struct Serving {
    leaf: Option<Leaf>,
    config: Arc<ArcSwap<ServerConfig>>,
    obstacle: watch::Sender<Option<&'static str>>,
    clients: Clients,
    metrics: TlsMetrics,
}

impl Serving {
    pub(super) fn new(clients: Clients, metrics: TlsMetrics) -> Self {
        let config = Arc::new(ArcSwap::new(tls::without_certificate()));
        let obstacle = watch::Sender::new(Some(SECRET_UNREAD));
        Self { leaf: None, config, obstacle, clients, metrics }
    }

    pub(super) fn certified(&self) -> Certified {
        Certified { config: Arc::clone(&self.config), obstacle: self.obstacle.subscribe() }
    }

    /// When what is served expires.
    pub(super) fn expires(&self) -> Option<SystemTime> {
        self.leaf.as_ref().map(|leaf| leaf.certificate.expires())
    }

    /// Takes the Secret's leaf into use as soon as it is covered. Until then the one before it is served. Tells whether
    /// that failed and is to be tried again.
    pub(super) fn offer(
        &mut self,
        leaf: Option<&Leaf>,
        published: &Publication,
        policy: &Policy,
        now: SystemTime,
    ) -> bool {
        let Some(leaf) = leaf.filter(|&leaf| self.leaf.as_ref() != Some(leaf)) else { return false };
        if !published.covers(&leaf.certificate, policy, now) {
            return false;
        }
        match tls::from_pem(leaf.certificate.der().clone(), leaf.key.pem(), &self.clients) {
            Ok(loaded) => {
                tls::announce(&loaded, &self.metrics, "certificate taken into use");
                self.config.store(loaded.config);
                self.leaf = Some(leaf.clone());
                false
            }
            Err(error) => {
                self.metrics.self_managed.failed(SelfManagedOperation::Serve);
                warn!(%error, "the certificate can't be taken into use");
                true
            }
        }
    }

    /// Tells the probe whether kube-apiserver takes what is served, and if not, why.
    pub(super) fn tell(
        &self,
        seen: &(Seen, Seen),
        published: &Publication,
        policy: &Policy,
        now: SystemTime,
    ) {
        let obstacle = match (&self.leaf, seen) {
            (Some(leaf), _) if leaf.certificate.has_expired(now) => Some("the certificate has expired"),
            (Some(leaf), _) if published.covers(&leaf.certificate, policy, now) => None,
            (_, (Seen::Unread, _)) => Some(SECRET_UNREAD),
            (_, (_, Seen::Unread)) => Some("the webhook configuration has not been read yet"),
            (None, (Seen::Absent, _)) => Some("the certificate's Secret does not exist"),
            (_, (_, Seen::Absent)) => Some("the webhook configuration does not exist"),
            _ => Some("the webhook configuration's caBundle does not cover the certificate"),
        };
        self.obstacle.send_replace(obstacle);
    }
}

const SECRET_UNREAD: &str = "the certificate's Secret has not been read yet";
