//! Starts the admin port, the debug pages on it and the socket of `probe`.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};

use super::ports::ADMIN_CONNECTIONS;
use crate::{
    accounts::cache::Cache,
    cli::{FlagInUse, config::Config},
    lifecycle::{self, Readiness},
    metrics::Metrics,
    server::{Timeouts, admin::Admin, debug::DebugPages, listen::Listener, probe::ProbeSocket},
};

/// How long the peers of the admin port may take. A scraper that comes more rarely opens a new connection.
const TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(5),
    header: Duration::from_secs(5),
    write: Duration::from_secs(5),
    idle: Duration::from_secs(30),
};

/// Answers probes and scrapes from the first moment to the last: the drain does not close this listener.
pub(super) fn start(
    tcp: TcpListener,
    config: &Config,
    metrics: &Metrics,
    readiness: &Arc<Readiness>,
    cache: &Arc<Cache>,
    background: &mut JoinSet<()>,
) -> anyhow::Result<JoinHandle<()>> {
    if let Some(path) = &config.probe_socket {
        let socket = ProbeSocket::bind(path);
        let socket = socket.with_context(|| format!("--probe-socket {}", path.display()))?;
        background.spawn(socket.serve(Arc::clone(readiness)));
    }
    let debug = config.debug.as_ref().map(|flags| {
        DebugPages::new(debug_config(config, flags), Arc::clone(cache), Arc::clone(&config.settings))
    });
    let admin = Admin::new(Arc::clone(readiness), metrics.clone(), debug);
    let (until_the_end, drain) = lifecycle::channel();
    let listener = Listener {
        tcp,
        tls: None,
        timeouts: TIMEOUTS,
        max_connections: ADMIN_CONNECTIONS,
        workers: None,
        drain,
        // The metrics of connections are those of the webhook's port.
        metrics: Metrics::new().http,
    };
    Ok(tokio::spawn(async move {
        let _until_the_end = until_the_end;
        admin.serve(listener).await;
    }))
}

/// The content of `/debug/config`.
fn debug_config(config: &Config, flags: &[FlagInUse]) -> Value {
    let flags = flags.iter().map(|flag| (flag.name.clone(), json!({"value": flag.value, "from": flag.from})));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "source": config.source.to_string(),
        "maxConnectionsInUse": config.max_connections,
        "flags": flags.collect::<serde_json::Map<_, _>>(),
    })
}
