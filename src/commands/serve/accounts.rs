//! Starts the sources of accounts, and of what is assigned to them.

use std::{sync::Arc, thread};

use anyhow::{Context, bail};
use tokio::{
    runtime::Builder,
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tracing::{info, warn};

use crate::{
    accounts::{
        assignments::{
            Assignments, News,
            config_map::ConfigMap,
            container_credentials::ContainerCredentialsList,
            container_credentials_file::ContainerCredentialsFile,
            mapping::CONFIG_MAP,
            role_policy::{NamespaceWatch, PermittedByDefault, RolePolicy},
        },
        cache::Writer,
        sources::{manifests::Manifests, watch},
    },
    cli::config::{Config, Namespace, Source},
    commands::cluster,
    injection::resolver::Resolver,
    kube::client::Target,
    lifecycle::NotReadyReason,
    metrics::AccountMetrics,
};

/// The sources of accounts, and what is assigned to them.
pub(super) struct Accounts {
    resolver: Arc<Resolver>,
    cluster: Option<Target>,
    config_map: Option<(ConfigMap, Namespace)>,
    role_policy: Option<(PermittedByDefault, NamespaceWatch)>,
    writer: Writer,
    metrics: AccountMetrics,
}

impl Accounts {
    pub(super) fn new(
        config: &Config,
        cluster: Option<Target>,
        writer: Writer,
        metrics: AccountMetrics,
    ) -> Self {
        let resolver = Arc::new(Resolver::new(Arc::clone(&config.settings)));
        let config_map = config.config_map.clone().filter(|_| cluster.is_some());
        let config_map = config_map
            .map(|namespace| (ConfigMap::new(Arc::clone(&resolver), metrics.mapping.clone()), namespace));
        let watch =
            || NamespaceWatch::new(&config.settings.annotation_prefix, metrics.mapping.retries.clone());
        let role_policy = config.role_policy.clone().map(|default| (default, watch()));
        Self { resolver, cluster, config_map, role_policy, writer, metrics }
    }

    /// Why the webhook is not ready, other than the accounts.
    pub(super) fn not_ready_reasons(&self) -> impl Iterator<Item = NotReadyReason> {
        let config_map = self.config_map.as_ref().map(|(config_map, _)| config_map.not_ready_reason());
        let namespaces = self.role_policy.as_ref().map(|(_, namespaces)| namespaces.not_ready_reason());
        config_map.into_iter().chain(namespaces)
    }

    /// Starts every source.
    pub(super) async fn start(mut self, config: &Config, background: &mut JoinSet<()>) -> anyhow::Result<()> {
        let container_credentials = start_container_credentials(config, &self.metrics, background)?;
        let role_policy = self.role_policy.as_ref().map(|(default, namespaces)| {
            RolePolicy::new(default.clone(), &config.settings.annotation_prefix).following(namespaces.news())
        });
        let assignments = Assignments::new(Arc::clone(&self.resolver))
            .following_mapping(self.config_map.as_ref().map(|(config_map, _)| config_map.mappings()))
            .under_role_policy(role_policy)
            .following_container_credentials(container_credentials);
        match (&config.source, self.cluster.take()) {
            (Source::Manifests(path), _) => {
                let manifests = Manifests::open(path, assignments, self.writer);
                let manifests = manifests.await.context("--service-accounts")?;
                background.spawn(manifests.follow(config.reload_interval));
            }
            (_, Some(cluster)) => {
                let ended = self.start_watch(cluster, assignments).await?;
                background.spawn(async { ended.await.unwrap_or(()) });
            }
            (_, None) => bail!("no cluster to watch"),
        }
        Ok(())
    }

    /// Starts the watches on a thread of their own: decoding a list of all accounts then keeps no thread from its
    /// requests, and leaves what the allocator keeps of it in one place rather than in every thread. Returns what says
    /// that they have ended.
    async fn start_watch(
        self,
        cluster: Target,
        assignments: Assignments,
    ) -> anyhow::Result<oneshot::Receiver<()>> {
        let (started, mut start) = mpsc::unbounded_channel();
        let (running, ended) = oneshot::channel();
        let watch = move || {
            let _running: oneshot::Sender<()> = running;
            let runtime = Builder::new_current_thread().enable_all().build().context("can't start the watch");
            let followed =
                runtime.and_then(|runtime| runtime.block_on(self.follow(cluster, assignments, &started)));
            if let Err(error) = followed {
                started.send(Err(error)).ok();
            }
        };
        thread::Builder::new().name("watch".to_owned()).spawn(watch).context("can't start the watch")?;
        // A credential plugin may take its time.
        start.recv().await.context("the watch ended")??;
        Ok(ended)
    }

    /// Follows the accounts and what is assigned to them, forever.
    async fn follow(
        self,
        cluster: Target,
        assignments: Assignments,
        started: &mpsc::UnboundedSender<anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        let client = || cluster.clone().client().context(cluster::NO_CLIENT);
        let follow_mapping = async {
            let Some((config_map, namespace)) = self.config_map else { return Ok(()) };
            let client = client()?;
            let namespace = namespace.or(client.default_namespace()).to_owned();
            info!(namespace, "roles come from ConfigMap {CONFIG_MAP} too");
            config_map.follow(client, &namespace).await;
            anyhow::Ok(())
        };
        let follow_namespaces = async {
            let Some((_, namespaces)) = self.role_policy else { return Ok(()) };
            namespaces.follow(client()?).await;
            anyhow::Ok(())
        };
        let accounts = watch::client(cluster.clone(), self.metrics).context(cluster::NO_CLIENT)?;
        started.send(Ok(())).ok();
        let follow_accounts = watch::follow(accounts, assignments, self.writer);
        let (mapped, permitted, ()) = tokio::join!(follow_mapping, follow_namespaces, follow_accounts);
        mapped.and(permitted)
    }
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
