//! The plain listener for the kubelet, for Prometheus and for those who look.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use hyper::{Method, Request, StatusCode, body::Incoming};

use super::{connection::Handler, debug::DebugPages, listen::Listener, reply::Reply, scrape};
use crate::{
    accounts::cache::Cache,
    lifecycle::{Drain, NotReadyReason},
    metrics::Metrics,
};

/// Whether requests should be sent here.
#[derive(Debug)]
pub struct Readiness {
    cache: Arc<Cache>,
    drain: Drain,
    is_listening: AtomicBool,
    certificate: Option<NotReadyReason>,
    mapping: Option<NotReadyReason>,
}

impl Readiness {
    /// Not ready yet: not listening.
    pub fn new(cache: Arc<Cache>, drain: Drain) -> Self {
        Self { cache, drain, is_listening: AtomicBool::new(false), certificate: None, mapping: None }
    }

    /// One that is ready only while nothing is told to be wrong with the certificate.
    pub fn with_certificate(self, obstacle: Option<NotReadyReason>) -> Self {
        Self { certificate: obstacle, ..self }
    }

    /// One that is ready only once there is a role mapping.
    pub fn with_mapping(self, obstacle: Option<NotReadyReason>) -> Self {
        Self { mapping: obstacle, ..self }
    }

    /// The webhook's port accepts connections.
    pub fn listening(&self) {
        self.is_listening.store(true, Ordering::Release);
    }

    /// What is missing, if anything.
    pub fn obstacle(&self) -> Option<&'static str> {
        let told =
            |obstacle: &Option<NotReadyReason>| obstacle.as_ref().and_then(|obstacle| *obstacle.borrow());
        if self.drain.has_begun() {
            Some("shutting down")
        } else if !self.is_listening.load(Ordering::Acquire) {
            Some("the webhook's port is not open yet")
        } else if let Some(obstacle) = told(&self.certificate).or_else(|| told(&self.mapping)) {
            Some(obstacle)
        } else if !self.cache.is_synced() {
            Some("the ServiceAccounts have not been listed yet")
        } else {
            None
        }
    }

    fn publish(&self, metrics: &Metrics) {
        metrics.ready.set(self.obstacle().is_none().into());
        metrics.draining.set(self.drain.has_begun().into());
    }
}

/// Answers probes and scrapes.
#[derive(Clone, Debug)]
pub struct Admin {
    readiness: Arc<Readiness>,
    metrics: Metrics,
    debug: Option<Arc<DebugPages>>,
}

impl Admin {
    /// An admin interface that reports these.
    pub fn new(readiness: Arc<Readiness>, metrics: Metrics, debug: Option<DebugPages>) -> Self {
        Self { readiness, metrics, debug: debug.map(Arc::new) }
    }

    /// Serves until the drain closes.
    pub async fn serve(self, listener: Listener) {
        listener.serve(self).await;
    }

    fn reply(&self, request: &Request<Incoming>) -> Reply {
        let path = request.uri().path();
        if let Some(page) = self.debug.as_ref().and_then(|debug| debug.page(path)) {
            return match *request.method() {
                Method::GET | Method::HEAD => page.reply(request.uri().query().unwrap_or_default()),
                _ => Reply::method_not_allowed("GET, HEAD"),
            };
        }
        // Where some manifests for the AWS webhook, such as kOps', probe it.
        let is_live = matches!(path, "/livez" | "/healthz");
        if !is_live && !matches!(path, "/readyz" | "/metrics") {
            return Reply::text(StatusCode::NOT_FOUND, "this port has /livez, /readyz and /metrics");
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Reply::method_not_allowed("GET, HEAD");
        }
        match (path, self.readiness.obstacle()) {
            ("/metrics", _) => {
                self.readiness.publish(&self.metrics);
                scrape::reply(request.headers(), self.metrics.render())
            }
            ("/readyz", Some(obstacle)) => {
                Reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {obstacle}"))
            }
            _ => Reply::text(StatusCode::OK, "ok"),
        }
    }
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        self.reply(&request)
    }
}
