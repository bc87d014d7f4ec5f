//! Starts the sources of accounts.

use std::{sync::mpsc, thread};

use anyhow::{Context, bail};
use tokio::{runtime::Builder, sync::oneshot, task::JoinSet};
use tracing::{info, warn};

use crate::{
    accounts::{
        assignments::{
            Assignments, News, config_map::ConfigMap, container_credentials::ContainerCredentialsList,
            container_credentials_file::ContainerCredentialsFile, mapping::CONFIG_MAP,
            role_policy::NamespaceWatch,
        },
        cache::Writer,
        sources::{manifests::Manifests, watch},
    },
    cli::config::{Config, Namespace, Source},
    commands::cluster,
    kube::client::Target,
    metrics::AccountMetrics,
};

/// What accounts are turned into, from any source.
pub(super) struct Accounts {
    pub(super) assignments: Assignments,
    pub(super) config_map: Option<ConfigMap>,
    pub(super) namespaces: Option<NamespaceWatch>,
    pub(super) writer: Writer,
    pub(super) metrics: AccountMetrics,
}

/// Reads the list of the accounts with container credentials, if there is one, and follows it.
pub(super) fn start_container_credentials(
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

/// Starts what keeps accounts known.
pub(super) async fn start_source(
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
    let Accounts { assignments, config_map, namespaces, writer, metrics } = accounts;
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
            let follow_namespaces = async {
                let Some(namespaces) = namespaces else { return Ok(()) };
                namespaces.follow(cluster.clone().client()?).await;
                Ok::<_, kube::Error>(())
            };
            let client = watch::client(cluster.clone(), metrics).context(cluster::NO_CLIENT)?;
            started.send(Ok(())).ok();
            let follow_accounts = watch::follow(client, assignments, writer);
            let (mapped, permitted, ()) = tokio::join!(follow_mapping, follow_namespaces, follow_accounts);
            mapped.and(permitted).context(cluster::NO_CLIENT)
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
