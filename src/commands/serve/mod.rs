//! `serve`: the one place that wires the parts together, starts them and ends them.

mod accounts;
mod logging;
mod ports;
mod signals;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::{info, warn};

use self::{
    accounts::{Accounts, start_container_credentials, start_source},
    ports::{ADMIN_CONNECTIONS, ADMIN_TIMEOUTS, bind, fitted_to_open_files},
    signals::Signals,
};
use super::cluster;
use crate::{
    accounts::{
        assignments::{
            Assignments,
            config_map::ConfigMap,
            role_policy::{NamespaceWatch, RolePolicy},
        },
        cache::Cache,
    },
    admission::Webhook,
    cli::{
        FlagInUse, ServeArgs,
        config::{Certificate, Config},
    },
    injection::resolver::Resolver,
    kube::client::Target,
    lifecycle::{self, Announcer, NotReadyReason, Phase, Readiness},
    metrics::{Metrics, TlsMetrics},
    recording::{Folder, Recorder, Recording},
    server::{
        admin::Admin, debug::DebugPages, listen::Listener, mutate::Mutate, probe::ProbeSocket,
        workers::Workers,
    },
    tls::{
        self, Reloader,
        self_managed::{controller::Controller, serving::Served},
    },
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
    // Tasks that run as long as the process. If one ends, the process fails.
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
    let prefix = &config.settings.annotation_prefix;
    let namespaces = config.role_policy.as_ref();
    let namespaces =
        namespaces.map(|_| NamespaceWatch::new(prefix, metrics.accounts.mapping.retries.clone()));
    let readiness = Readiness::new(drain.clone())
        .with(certificate)
        .with(config_map.as_ref().map(ConfigMap::obstacle))
        .with(namespaces.as_ref().map(NamespaceWatch::not_ready_reason))
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
    if let Some(path) = &config.probe_socket {
        let socket = ProbeSocket::bind(path);
        let socket = socket.with_context(|| format!("--probe-socket {}", path.display()))?;
        background.spawn(socket.serve(Arc::clone(&readiness)));
    }
    let admin = Admin::new(Arc::clone(&readiness), metrics.clone(), debug).serve(admin);
    let admin = tokio::spawn(admin);

    let recording = config.record.take().map(|folder| start_recording(folder, &metrics));
    let (recorder, recording) = recording.transpose()?.unzip();
    let container_credentials = start_container_credentials(&config, &metrics.accounts, &mut background)?;
    let role_policy = config.role_policy.clone().zip(namespaces.as_ref()).map(|(default, namespaces)| {
        RolePolicy::new(default, &config.settings.annotation_prefix).following(namespaces.news())
    });
    let assignments = Assignments::new(resolver)
        .following_mapping(config_map.as_ref().map(ConfigMap::mappings))
        .under_role_policy(role_policy)
        .following_container_credentials(container_credentials);
    let accounts =
        Accounts { assignments, config_map, namespaces, writer, metrics: metrics.accounts.clone() };
    start_source(&config, cluster, accounts, &mut background).await?;

    let core = Webhook::new(Arc::clone(&config.settings));
    let mutate = Mutate::new(core, cache, config.requests, metrics.clone(), recorder);
    if config.is_port_shared {
        // The process that has the port so far serves until this one can.
        tokio::select! {
            () = readiness.conditions_met() => {}
            name = signals.next() => {
                info!(signal = name, "ended before it was ready");
                return Ok(ExitCode::SUCCESS);
            }
        }
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
