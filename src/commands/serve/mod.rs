//! `serve`: the one place that wires the parts together, starts them and ends them.

mod logging;

use std::{
    io,
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    runtime::Builder,
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use super::cluster;
use crate::{
    accounts::{
        assignments::{
            Assignments, News, config_map::ConfigMap, container_credentials::ContainerCredentialsList,
            container_credentials_file::ContainerCredentialsFile, mapping::CONFIG_MAP,
        },
        cache::{Cache, Writer},
        sources::{manifests::Manifests, watch},
    },
    admission::Webhook,
    cli::{
        FlagInUse, ServeArgs,
        config::{Certificate, Config, Namespace, Source},
    },
    injection::resolver::Resolver,
    kube::client::Target,
    lifecycle::{self, Announcer, NotReadyReason, Phase, Readiness},
    metrics::{AccountMetrics, Metrics, TlsMetrics},
    recording::{Folder, Recorder, Recording},
    server::{
        Timeouts,
        admin::Admin,
        debug::DebugPages,
        listen::{Listener, Port},
        mutate::Mutate,
        workers::Workers,
    },
    tls::{
        self, Reloader,
        self_managed::{controller::Controller, serving::Served},
    },
};

/// How many connections the admin port takes: a kubelet's and some scrapes.
const ADMIN_CONNECTIONS: usize = 32;

/// How long the peers of the admin port may take. A scraper that comes more rarely opens a new connection.
const ADMIN_TIMEOUTS: Timeouts = Timeouts {
    handshake: Duration::from_secs(5),
    header: Duration::from_secs(5),
    write: Duration::from_secs(5),
    idle: Duration::from_secs(30),
};

/// How many open files are kept for the admin port, the watch and what is read from disk.
const RESERVED_FILES: usize = 2 * ADMIN_CONNECTIONS;

/// What to do where a port is too low. The AWS webhook's is, and its image runs as root, which ours does not.
const PRIVILEGED_PORT: &str = ": ports below 1024 are for root on this node; set the pod's sysctl \
    net.ipv4.ip_unprivileged_port_start to 0 (securityContext.sysctls), or take another port";

/// Serves until a signal ends it.
pub fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let metrics = Metrics::with_namespaces(args.listen.metrics_namespaces.into());
    let mut log = logging::start(&args.log, metrics.log_lines_dropped.clone())?;
    for warning in &args.warnings {
        warn!("{warning}");
    }
    let config = Config::try_from(args).map_err(anyhow::Error::from);
    let ended = config.and_then(|config| super::block_on_one_thread(Box::pin(serve(config, metrics))));
    // By way of the log, since nobody may be reading.
    Ok(ended.unwrap_or_else(|error| {
        log.end_with(&error);
        ExitCode::FAILURE
    }))
}

async fn serve(mut config: Config, metrics: Metrics) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::new().context("can't listen for signals")?;
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
    config.limit_connections(fitted_to_open_files(config.max_connections));

    metrics.http.connections_limit.set(config.max_connections as i64);
    let (announcer, drain) = lifecycle::channel();
    let (cache, writer) = Cache::new(metrics.accounts.clone());
    // What runs beside the webhook for as long as the process lives. That one ends is a failure of its own.
    let mut background = JoinSet::new();

    let (admin, admin_address) = bind("--admin-listen", config.admin_listen, config.is_port_shared)?;
    let (webhook, webhook_address) = bind("--listen", config.listen, config.is_port_shared)?;
    let admin = admin.listen().with_context(|| format!("--admin-listen {admin_address}"))?;
    let workers = Workers::start(config.requests.threads).context("can't start the threads of --threads")?;
    let cluster = cluster::target(&config.source).await?;
    let (tls, certificate) = start_tls(&config, cluster.as_ref(), &metrics.tls, &mut background)?;
    let resolver = Arc::new(Resolver::new(Arc::clone(&config.settings)));
    let config_map = config.config_map.as_ref().filter(|_| cluster.is_some());
    let config_map =
        config_map.map(|_| ConfigMap::new(Arc::clone(&resolver), metrics.accounts.mapping.clone()));
    let readiness = Readiness::new(drain.clone())
        .with(certificate)
        .with(config_map.as_ref().map(ConfigMap::obstacle))
        .with_condition(Cache::not_ready_reason(Arc::clone(&cache)));
    let readiness = Arc::new(readiness);
    let listener = |tcp, tls, metrics| Listener {
        tcp,
        tls,
        timeouts: config.timeouts,
        max_connections: config.max_connections,
        workers: Some(workers.clone()),
        drain: drain.clone(),
        metrics,
    };

    // Probes and scrapes are answered from the first moment to the last: the drain does not close this listener. Its
    // connections are not the webhook's, and not counted with them.
    let (_until_the_end, admin_drain) = lifecycle::channel();
    let admin = Listener {
        drain: admin_drain,
        max_connections: ADMIN_CONNECTIONS,
        timeouts: ADMIN_TIMEOUTS,
        workers: None,
        ..listener(admin, None, Metrics::new().http)
    };
    let debug = config.debug.take().map(|flags| {
        DebugPages::new(debug_config(&config, &flags), Arc::clone(&cache), Arc::clone(&config.settings))
    });
    let admin = Admin::new(Arc::clone(&readiness), metrics.clone(), debug).serve(admin);
    let admin = tokio::spawn(admin);

    let recording = config.record.take().map(|folder| start_recording(folder, &metrics));
    let (recorder, recording) = recording.transpose()?.unzip();
    let container_credentials = start_container_credentials(&config, &metrics.accounts, &mut background)?;
    let assignments = Assignments::new(resolver)
        .following_mapping(config_map.as_ref().map(ConfigMap::mappings))
        .following_container_credentials(container_credentials);
    let accounts = Accounts { assignments, config_map, writer, metrics: metrics.accounts.clone() };
    start_source(&config, cluster, accounts, &mut background).await?;

    let core = Webhook::new(Arc::clone(&config.settings));
    let mutate = Mutate::new(core, cache, config.requests, metrics.clone(), recorder);
    if config.is_port_shared {
        // The process that has the port until now serves until this one can.
        readiness.conditions_met().await;
    }
    let webhook = webhook.listen().with_context(|| format!("--listen {webhook_address}"))?;
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
    Ok(ExitCode::SUCCESS)
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

/// What `/debug/config` shows.
fn debug_config(config: &Config, flags: &[FlagInUse]) -> Value {
    let flags = flags.iter().map(|flag| (flag.name.clone(), json!({"value": flag.value, "from": flag.from})));
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "source": config.source.to_string(),
        "maxConnectionsInUse": config.max_connections,
        "flags": flags.collect::<serde_json::Map<_, _>>(),
    })
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

fn bind(flag: &str, address: SocketAddr, is_shared: bool) -> anyhow::Result<(Port, SocketAddr)> {
    let port = Port::bind(address, is_shared).map_err(|error| {
        let is_privileged = error.kind() == io::ErrorKind::PermissionDenied && address.port() < 1024;
        let hint = if is_privileged { PRIVILEGED_PORT } else { "" };
        anyhow!(error).context(format!("{flag} {address}: can't listen there{hint}"))
    })?;
    let address = port.address()?;
    Ok((port, address))
}

fn start_recording(folder: Folder, metrics: &Metrics) -> anyhow::Result<(Recorder, Recording)> {
    let path = folder.path.clone();
    let started = Recorder::start(folder, metrics.recordings.clone()).context("--record")?;
    info!(dir = %path.display(), "recording");
    Ok(started)
}

fn start_tls(
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
            let client = cluster.clone().client().context(cluster::NO_CLIENT)?;
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

/// What becomes of accounts, wherever they come from.
struct Accounts {
    assignments: Assignments,
    config_map: Option<ConfigMap>,
    writer: Writer,
    metrics: AccountMetrics,
}

/// Reads the list of the accounts with container credentials, if there is one, and follows it.
fn start_container_credentials(
    config: &Config,
    metrics: &AccountMetrics,
    background: &mut JoinSet<()>,
) -> anyhow::Result<Option<News<ContainerCredentialsList>>> {
    let Some(path) = &config.container_credentials else { return Ok(None) };
    let uri = config.settings.container_credentials.as_ref().map(|given| &given.full_uri);
    if let Some(uri) = uri.filter(|uri| !uri.is_http()) {
        warn!(%uri, "--container-credentials-full-uri: SDKs ask http:// and https:// only; pods are given it as it is");
    }
    let file = ContainerCredentialsFile::open(path, metrics.container_credentials.clone());
    let file = file.context("--watch-container-credentials-config")?;
    let news = file.news();
    background.spawn(file.follow(config.reload_interval));
    Ok(Some(news))
}

async fn start_source(
    config: &Config,
    cluster: Option<Target>,
    accounts: Accounts,
    background: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    match (&config.source, cluster) {
        (Source::Manifests(path), _) => {
            let manifests = Manifests::open(path, accounts.assignments, accounts.writer);
            let manifests = manifests.await.context("--service-accounts")?;
            background.spawn(manifests.follow(config.reload_interval));
        }
        (_, Some(cluster)) => {
            let ended = start_watch(cluster, config.config_map.clone(), accounts)?;
            background.spawn(async { ended.await.unwrap_or(()) });
        }
        (_, None) => bail!("no cluster to watch"),
    }
    Ok(())
}

/// Starts the watch on a thread of its own: decoding a list of all accounts then keeps no thread from its requests, and
/// leaves what the allocator keeps of it in one place rather than in every thread. Tells when it has ended.
fn start_watch(
    cluster: Target,
    namespace: Option<Namespace>,
    accounts: Accounts,
) -> anyhow::Result<oneshot::Receiver<()>> {
    let Accounts { assignments, config_map, writer, metrics } = accounts;
    let (started, start) = mpsc::channel();
    let (running, ended) = oneshot::channel();
    let watch = move || {
        let _running: oneshot::Sender<()> = running;
        let follow = async {
            let follow_mapping = async {
                let Some((config_map, namespace)) = config_map.zip(namespace) else { return Ok(()) };
                let client = cluster.clone().client()?;
                let namespace = namespace.or(client.default_namespace()).to_owned();
                info!(namespace, "roles come from ConfigMap {CONFIG_MAP} too");
                config_map.follow(client, &namespace).await;
                Ok::<_, kube::Error>(())
            };
            let client = watch::client(cluster.clone(), metrics).context(cluster::NO_CLIENT)?;
            started.send(Ok(())).ok();
            let (mapped, ()) = tokio::join!(follow_mapping, watch::follow(client, assignments, writer));
            mapped.context(cluster::NO_CLIENT)
        };
        let runtime = Builder::new_current_thread().enable_all().build().context("can't start the watch");
        if let Err(error) = runtime.and_then(|runtime| runtime.block_on(follow)) {
            started.send(Err(error)).ok();
        }
    };
    thread::Builder::new().name("watch".to_owned()).spawn(watch).context("can't start the watch")?;
    start.recv().context("the watch ended")??;
    Ok(ended)
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
