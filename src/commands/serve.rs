//! `serve`: the one place that wires the parts together, starts them and ends them.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::{ServerConfig, crypto::aws_lc_rs};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::{
    accounts::{
        cache::{Cache, Writer},
        manifests::Manifests,
        watch,
    },
    admission::Webhook,
    binding::Binder,
    cli::{LogArgs, LogFormat, ServeArgs},
    config::{Certificate, Config, Source},
    metrics::{Metrics, TlsMetrics},
    recording::{Folder, Recorder, Recording},
    server::{
        admin::{Admin, Readiness},
        drain::{self, Announcer, Phase},
        listen::{self, Listener},
        mutate::Mutate,
        tls::{self, Reloader},
    },
};

/// How many connections the admin port takes: a kubelet's and some scrapes.
const ADMIN_CONNECTIONS: usize = 32;

/// How many open files are kept for the admin port, the watch and what is read from disk.
const RESERVED_FILES: usize = 2 * ADMIN_CONNECTIONS;

/// Serves until a signal ends it.
pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    start_logging(&args.log)?;
    aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a crypto provider is already set"))?;
    let runtime = tokio::runtime::Runtime::new().context("can't start the runtime")?;
    runtime.block_on(serve(args.into()))
}

async fn serve(mut config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::new().context("can't listen for signals")?;
    let settings = &config.settings;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        source = %config.source,
        aws_region = %settings.region,
        annotation_prefix = %settings.annotation_prefix,
        token_audience = %settings.token_audience,
        token_expiration = %settings.token_expiration,
        "starting"
    );
    config.limit_connections(fitted_to_open_files(config.max_connections));

    let metrics = Metrics::new();
    metrics.http.connections_limit.set(config.max_connections as i64);
    let (announcer, drain) = drain::channel();
    let (cache, writer) = Cache::new(metrics.accounts.clone());
    let readiness = Arc::new(Readiness::new(Arc::clone(&cache), drain.clone()));
    // What runs beside the webhook for as long as the process lives. That one ends is a failure of its own.
    let mut background = JoinSet::new();

    let (admin, admin_address) = bind("--admin-listen", config.admin_listen)?;
    let (webhook, webhook_address) = bind("--listen", config.listen)?;
    let listener = |tcp, tls, metrics| Listener {
        tcp,
        tls,
        timeouts: config.timeouts,
        max_connections: config.max_connections,
        drain: drain.clone(),
        metrics,
    };

    // Probes and scrapes are answered from the first moment to the last: the drain does not close this listener. Its
    // connections are not the webhook's, and not counted with them.
    let (_until_the_end, admin_drain) = drain::channel();
    let admin = Listener {
        drain: admin_drain,
        max_connections: ADMIN_CONNECTIONS,
        ..listener(admin, None, Metrics::new().http)
    };
    let admin = tokio::spawn(Admin::new(Arc::clone(&readiness), metrics.clone()).serve(admin));

    let (recorder, recording) = config.record.take().map(start_recording).transpose()?.unzip();
    let tls = start_tls(&config, &metrics.tls, &mut background)?;
    start_source(&config, writer, &mut background).await?;

    let core = Webhook::new(Arc::clone(&config.settings));
    let mutate = Mutate::new(core, cache, config.requests, metrics.clone(), recorder);
    let mut serving = tokio::spawn(mutate.serve(listener(webhook, Some(tls), metrics.http.clone())));
    readiness.listening();
    info!(listen = %webhook_address, admin_listen = %admin_address, "listening");

    let signal = tokio::select! {
        name = signals.next() => name,
        Some(ended) = background.join_next() => bail!("a background task ended: {ended:?}"),
        ended = &mut serving => bail!("the listener ended: {ended:?}"),
    };
    announcer.announce(Phase::Draining);
    info!(signal, delay = ?config.drain_delay, "draining");
    tokio::select! {
        result = finish(&config, &announcer, serving, recording, &metrics) => result?,
        name = signals.next() => bail!("second signal ({name}): ended without draining"),
    }
    admin.abort();
    Ok(())
}

/// Goes on answering while the cluster learns that this replica goes, then closes the port and finishes what is in
/// flight, the recordings last.
async fn finish(
    config: &Config,
    announcer: &Announcer,
    serving: JoinHandle<()>,
    recording: Option<Recording>,
    metrics: &Metrics,
) -> anyhow::Result<()> {
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

/// Raises the limit on open files as far as it goes, and keeps some of them back: a flood of connections that took the
/// probes with it would end in a restart.
fn fitted_to_open_files(max_connections: usize) -> usize {
    let Ok(limit) = rlimit::increase_nofile_limit(u64::MAX) else { return max_connections };
    let fitting = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(RESERVED_FILES).max(1);
    if max_connections > fitting {
        warn!(
            max_connections,
            limit, fitting, "--max-connections is more than the limit on open files allows"
        );
    }
    max_connections.min(fitting)
}

fn bind(flag: &str, address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = listen::bind(address).with_context(|| format!("{flag} {address}: can't listen there"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn start_recording(folder: Folder) -> anyhow::Result<(Recorder, Recording)> {
    let path = folder.path.clone();
    let started = Recorder::start(folder).context("--record")?;
    info!(dir = %path.display(), "recording");
    Ok(started)
}

fn start_tls(
    config: &Config,
    metrics: &TlsMetrics,
    background: &mut JoinSet<()>,
) -> anyhow::Result<Arc<ArcSwap<ServerConfig>>> {
    match &config.certificate {
        Certificate::SelfSigned { names, client_ca } => {
            let loaded = tls::self_signed(names, client_ca.as_deref())?;
            tls::announce(&loaded, metrics, "self-signed certificate made");
            Ok(Arc::new(ArcSwap::new(loaded.config)))
        }
        Certificate::Files(files) => {
            let reloader = Reloader::open(files.clone(), metrics.clone())?;
            let current = reloader.current();
            background.spawn(reloader.follow(config.reload_interval));
            Ok(current)
        }
    }
}

async fn start_source(config: &Config, writer: Writer, background: &mut JoinSet<()>) -> anyhow::Result<()> {
    let binder = Binder::new(Arc::clone(&config.settings));
    let client = match &config.source {
        Source::Manifests(path) => {
            let manifests = Manifests::open(path, binder, writer).context("--service-accounts")?;
            background.spawn(manifests.follow(config.reload_interval));
            return Ok(());
        }
        Source::InCluster => kube::Config::incluster().context(
            "not in a cluster: give --kubeconfig for another one, or --service-accounts for manifests",
        )?,
        Source::Kubeconfig { files, context } => {
            let kubeconfig = read_kubeconfig(files).context("--kubeconfig")?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.context("--kubeconfig")?
        }
    };
    let client =
        kube::Client::try_from(watch::tuned(client)).context("can't make a client for the cluster")?;
    background.spawn(watch::follow(client, binder, writer));
    Ok(())
}

fn read_kubeconfig(files: &[PathBuf]) -> anyhow::Result<Kubeconfig> {
    if files.is_empty() {
        return Ok(Kubeconfig::read()?);
    }
    let mut merged = Kubeconfig::default();
    for file in files {
        merged = merged.merge(Kubeconfig::read_from(file)?)?;
    }
    Ok(merged)
}

fn start_logging(args: &LogArgs) -> anyhow::Result<()> {
    let (from, text) =
        match (args.log_level.clone().filter(|text| !text.is_empty()), std::env::var("RUST_LOG")) {
            (Some(text), _) => ("--log-level", text),
            (None, Ok(text)) if !text.is_empty() => ("RUST_LOG", text),
            (None, _) => ("--log-level", "info".to_owned()),
        };
    // A bare level is about this program. What kube has to say of its failures, the watch says itself, less often.
    let is_level = text.parse::<tracing::level_filters::LevelFilter>().is_ok();
    let want = || {
        format!(
            "{from} {text:?}: want off, error, warn, info, debug, trace or a filter such as info,kube=debug"
        )
    };
    if !is_level && !text.contains(['=', ',']) {
        // A filter would take the word for the name of a module, and nothing would be logged.
        bail!(want());
    }
    let filter = if is_level {
        format!("error,kube=off,kube_client=off,kube_runtime=off,eks_pod_identity_webhook={text}")
    } else {
        text.clone()
    };
    let filter = EnvFilter::try_new(filter).with_context(want)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match args.log_format {
        LogFormat::Text => subscriber.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
    Ok(())
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
