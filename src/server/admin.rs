//! The admin port: probes, metrics and debug pages over plain HTTP.

use std::sync::Arc;

use hyper::{Method, Request, StatusCode, body::Incoming};

use super::{
    activity::Exchange, connection::Handler, debug::DebugPages, listen::Listener, reply::Reply, scrape,
};
use crate::{lifecycle::Readiness, metrics::Metrics};

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

    fn publish_readiness(&self) {
        self.metrics.ready.set(self.readiness.not_ready_reason().is_none().into());
        self.metrics.draining.set(self.readiness.is_draining().into());
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
        match (path, self.readiness.not_ready_reason()) {
            ("/metrics", _) => {
                self.publish_readiness();
                scrape::reply(request.headers(), self.metrics.render())
            }
            ("/readyz", Some(reason)) => {
                Reply::text(StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {reason}"))
            }
            _ => Reply::text(StatusCode::OK, "ok"),
        }
    }
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>, _: &Exchange) -> Reply {
        self.reply(&request)
    }
}
