//! `serve`: the one place that wires the parts together, starts them and ends them.

mod accounts;
mod admin;
mod logging;
mod ports;
mod signals;
mod tls;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use self::{
    accounts::Accounts,
    ports::{Ports, fitted_to_open_files},
    signals::Signals,
};
use super::cluster;
use crate::{
    accounts::cache::Cache,
    admission::Webhook,
    cli::{ServeArgs, config::Config},
    lifecycle::{self, Announcer, Phase, Readiness},
    metrics::Metrics,
    recording::{Folder, Recorder, Recording},
    server::{listen::Listener, mutate::Mutate, workers::Workers},
};

/// Serves until a signal ends it.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let metrics = Metrics::with_namespaces(args.listen.metrics_namespaces.into());
    let mut log = logging::start(&args.log, metrics.log_lines_dropped.clone())?;
    for warning in &args.warnings {
        warn!("{warning}");
    }
    let config = Config::try_from(args).map_err(anyhow::Error::from);
    let ended = config.and_then(|config| super::block_on_one_thread(Box::pin(serve(config, metrics))));
    // Printed by way of the log, which does not block if standard error is not read.
    Ok(ended.unwrap_or_else(|error| {
        log.end_with(&error);
        ExitCode::FAILURE
    }))
}

async fn serve(mut config: Config, metrics: Metrics) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("can't listen for signals")?;
    log_start(&config);
    config.limit_connections(fitted_to_open_files(config.max_connections));
    metrics.http.connections_limit.set(config.max_connections as i64);
    let (announcer, drain) = lifecycle::channel();
    // Tasks that run as long as the process. If one ends, the process fails.
    let mut background = JoinSet::new();

    let Ports { admin, admin_address, webhook, webhook_address } = Ports::bind(&config)?;
    let workers = Workers::start(config.requests.threads).context("can't start the threads of --threads")?;
    let cluster = cluster::target(&config.source).await?;
    let tls = tls::start(&config, cluster.as_ref(), &metrics.tls, &mut background);
    let Some(tls) = unless_signalled(tls, &mut signals).await else { return Ok(ExitCode::SUCCESS) };
    let (tls, certificate) = tls?;
    let (cache, writer) = Cache::new(metrics.accounts.clone());
    let accounts = Accounts::new(&config, cluster, writer, metrics.accounts.clone());
    let readiness = Readiness::new(drain.clone())
        .with(certificate)
        .with(accounts.not_ready_reasons())
        .with_condition(Cache::not_ready_reason(Arc::clone(&cache)));
    let readiness = Arc::new(readiness);
    let admin = admin::start(admin, &config, &metrics, &readiness, &cache, &mut background)?;
    let (recorder, recording) = start_recording(config.record.take(), &metrics)?.unzip();
    let started = unless_signalled(accounts.start(&config, &mut background), &mut signals).await;
    let Some(started) = started else { return Ok(ExitCode::SUCCESS) };
    started?;

    let core = Webhook::new(Arc::clone(&config.settings));
    let mutate = Mutate::new(core, cache, config.requests, metrics.clone(), recorder);
    // Until this process can serve, the one that has the shared port does.
    if config.is_port_shared && unless_signalled(readiness.conditions_met(), &mut signals).await.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut serving = tokio::spawn(mutate.serve(Listener {
        tcp: webhook.listen().with_context(|| format!("--listen {webhook_address}"))?,
        tls: Some(tls),
        timeouts: config.timeouts,
        max_connections: config.max_connections,
        workers: Some(workers),
        drain,
        metrics: metrics.http.clone(),
    }));
    readiness.listening();
    info!(listen = %webhook_address, admin_listen = %admin_address, "listening");

    let signal = tokio::select! {
        name = signals.next() => name,
        Some(ended) = background.join_next() => bail!("a background task ended: {ended:?}"),
        ended = &mut serving => bail!("the listener ended: {ended:?}"),
    };
    info!(signal, delay = ?config.drain_delay, "draining");
    tokio::select! {
        result = finish(&config, &announcer, serving, recording, &metrics) => result?,
        name = signals.next() => bail!("second signal ({name}): ended without draining"),
    }
    admin.abort();
    Ok(ExitCode::SUCCESS)
}

fn log_start(config: &Config) {
    let settings = &config.settings;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        source = %config.source,
        compat = %settings.compat,
        aws_region = %settings.region,
        annotation_prefix = %settings.annotation_prefix,
        token_audience = %settings.token_audience,
        token_expiration = %settings.token_expiration,
        "starting"
    );
}

/// Waits for a part of the start; `None` if a signal comes first.
async fn unless_signalled<T>(part: impl Future<Output = T>, signals: &mut Signals) -> Option<T> {
    tokio::select! {
        done = part => Some(done),
        name = signals.next() => {
            info!(signal = name, "ended before it was ready");
            None
        }
    }
}

/// Shuts down: answers requests during the drain delay, then closes the port, and finishes requests in flight and
/// recordings.
async fn finish(
    config: &Config,
    announcer: &Announcer,
    serving: JoinHandle<()>,
    recording: Option<Recording>,
    metrics: &Metrics,
) -> anyhow::Result<()> {
    announcer.announce(Phase::Draining);
    sleep(config.drain_delay).await;
    announcer.announce(Phase::Closing);
    match timeout(config.drain_timeout, serving).await {
        Ok(ended) => ended.context("the listener failed").map(|()| info!("drained"))?,
        Err(_) => {
            let open = metrics.http.connections_open.get();
            warn!(connections = open, "not drained within --drain-timeout; ending anyway");
        }
    }
    if let Some(recording) = recording {
        recording.finish().await;
    }
    Ok(())
}

fn start_recording(
    folder: Option<Folder>,
    metrics: &Metrics,
) -> anyhow::Result<Option<(Recorder, Recording)>> {
    let Some(folder) = folder else { return Ok(None) };
    let path = folder.path.clone();
    let started = Recorder::start(folder, metrics.recordings.clone()).context("--record")?;
    info!(dir = %path.display(), "recording");
    Ok(Some(started))
}
