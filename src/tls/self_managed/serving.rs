//! Serves the newest leaf that kube-apiserver trusts.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::sync::watch;
use tracing::warn;

use super::{authority::Leaf, failures::Operation, policy::Policy, publication::Publication};
use crate::{
    kube::object::Observed,
    lifecycle::NotReadyReason,
    metrics::TlsMetrics,
    tls::{self, Clients},
};

/// The served certificate, for the listener and the readiness probe.
#[derive(Clone, Debug)]
pub struct Served {
    /// The TLS configuration of new connections; at first it has no certificate.
    pub config: Arc<ArcSwap<ServerConfig>>,
    /// Why kube-apiserver does not trust the certificate, if so.
    pub not_ready_reason: NotReadyReason,
}

/// The leaf that is served.
#[derive(Debug)]
pub(super) struct Serving {
    leaf: Option<Leaf>,
    config: Arc<ArcSwap<ServerConfig>>,
    not_ready_reason: watch::Sender<Option<&'static str>>,
    clients: Clients,
    metrics: TlsMetrics,
}

impl Serving {
    pub(super) fn new(clients: Clients, metrics: TlsMetrics) -> Self {
        let config = Arc::new(ArcSwap::new(tls::without_certificate()));
        let not_ready_reason = watch::Sender::new(Some(SECRET_UNREAD));
        Self { leaf: None, config, not_ready_reason, clients, metrics }
    }

    pub(super) fn served(&self) -> Served {
        Served { config: Arc::clone(&self.config), not_ready_reason: self.not_ready_reason.subscribe() }
    }

    /// When the served leaf expires.
    pub(super) fn expires(&self) -> Option<SystemTime> {
        self.leaf.as_ref().map(|leaf| leaf.certificate.expires())
    }

    /// Serves the Secret's leaf as soon as the `caBundle` covers it; until then, the one before it. Returns whether that
    /// failed and must be tried again.
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
                self.metrics.self_managed.failed(Operation::Serve);
                warn!(%error, "the certificate can't be taken into use");
                true
            }
        }
    }

    /// Updates the reason why kube-apiserver does not trust the served leaf. `lost` is the reason why the Secret holds none.
    pub(super) fn update_readiness(
        &self,
        (secret, configuration): (&Observed, &Observed),
        lost: Option<&'static str>,
        published: &Publication,
        policy: &Policy,
        now: SystemTime,
    ) {
        let reason = match (&self.leaf, secret, configuration) {
            (Some(leaf), ..) if leaf.certificate.has_expired(now) => Some("the certificate has expired"),
            (Some(leaf), ..) if published.covers(&leaf.certificate, policy, now) => None,
            (_, Observed::Unread, _) => Some(SECRET_UNREAD),
            (_, _, Observed::Unread) => Some("the webhook configuration has not been read yet"),
            (None, Observed::Absent, _) => Some("the certificate's Secret does not exist"),
            (_, _, Observed::Absent) => Some("the webhook configuration does not exist"),
            _ if lost.is_some() => lost,
            _ => Some("the webhook configuration's caBundle does not cover the certificate"),
        };
        self.not_ready_reason.send_replace(reason);
    }
}

const SECRET_UNREAD: &str = "the certificate's Secret has not been read yet";
