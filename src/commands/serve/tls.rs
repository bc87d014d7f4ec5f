//! Starts what provides the certificate.

use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::info;

use crate::{
    cli::config::{Certificate, Config},
    commands::cluster,
    kube::client::Target,
    lifecycle::NotReadyReason,
    metrics::TlsMetrics,
    tls::{
        self, Reloader,
        self_managed::{controller::Controller, serving::Served},
    },
};

/// Returns the TLS configuration of new connections, and why it can't be used yet.
pub(super) async fn start(
    config: &Config,
    cluster: Option<&Target>,
    metrics: &TlsMetrics,
    background: &mut JoinSet<()>,
) -> anyhow::Result<(Arc<ArcSwap<ServerConfig>>, Option<NotReadyReason>)> {
    match &config.certificate {
        Certificate::SelfSigned { names, clients } => {
            let loaded = tls::self_signed(names, clients)?;
            tls::announce(&loaded, metrics, "self-signed certificate made");
            Ok((Arc::new(ArcSwap::new(loaded.config)), None))
        }
        Certificate::Files(files) => {
            let reloader = Reloader::open(files.clone(), metrics.clone())?;
            let current = reloader.current();
            background.spawn(reloader.follow(config.reload_interval));
            Ok((current, None))
        }
        Certificate::SelfManaged(managed) => {
            let cluster = cluster.context("--tls-self-managed needs a cluster")?;
            // A credential plugin may take its time.
            let cluster = cluster.clone();
            let client = spawn_blocking(|| cluster.client()).await?.context(cluster::NO_CLIENT)?;
            let managed = managed.in_namespace(client.default_namespace());
            info!(
                namespace = managed.namespace,
                secret = managed.secret,
                configuration = managed.configuration,
                names = ?managed.policy.names,
                "keeping the certificate"
            );
            let controller = Controller::new(&client, managed, metrics);
            let Served { config, not_ready_reason } = controller.served();
            background.spawn(controller.run());
            Ok((config, Some(not_ready_reason)))
        }
    }
}
