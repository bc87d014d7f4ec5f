//! How the cluster is reached.

use anyhow::{Context, anyhow, ensure};
use hyper::Uri;

use super::kubeconfig;
use crate::{
    accounts::sources::watch,
    cli::{ClusterArgs, config::Source},
    kube::{
        call::{self, CallError},
        client::Target,
        proxy::Proxy,
    },
    oidc::{Discovery, issuer::DISCOVERY_PATH},
};

/// The error where no client can be made of a configuration.
pub(super) const NO_CLIENT: &str = "can't make a client for the cluster";

/// How to reach the cluster that accounts come from; `None` if they come from manifests.
pub(super) async fn target(source: &Source) -> anyhow::Result<Option<Target>> {
    let target = match source {
        Source::Manifests(_) => return Ok(None),
        Source::InCluster => {
            let config = kube::Config::incluster().context(
                "not in a cluster: give --kubeconfig for another one, or --service-accounts for manifests",
            )?;
            Target { config, proxy: None }
        }
        Source::Kubeconfig { files, context, server } => {
            let server = server.as_deref().map(parse_server).transpose().context("--kube-api")?;
            match server {
                Some(server) if files.is_empty() && context.is_none() => {
                    let proxy = Proxy::from_environment(&server)?;
                    Target { config: kube::Config::new(server), proxy }
                }
                _ => {
                    let read = kubeconfig::read(files, context.clone(), server).await;
                    read.context("--kubeconfig")?
                }
            }
        }
    };
    Ok(Some(Target { config: watch::tuned(target.config), ..target }))
}

/// A client for the cluster of a command: that of its flags, the one it runs in, or that of `~/.kube/config`.
pub(super) async fn client(args: ClusterArgs) -> anyhow::Result<kube::Client> {
    let is_in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let target = match Source::from(args) {
        Source::InCluster if !is_in_cluster => {
            target(&Source::Kubeconfig { files: Vec::new(), context: None, server: None })
                .await
                .context("not in a cluster, and no usable default kubeconfig: give --kubeconfig")
        }
        source => target(&source).await,
    };
    target?.context("no cluster")?.client().context(NO_CLIENT)
}

/// The client of a command that may not need one: made when it is first asked for.
pub(super) struct Clusters {
    args: Option<ClusterArgs>,
    client: Option<kube::Client>,
}

impl Clusters {
    pub(super) fn new(args: ClusterArgs) -> Self {
        Self { args: Some(args), client: None }
    }

    pub(super) async fn client(&mut self) -> anyhow::Result<kube::Client> {
        if let Some(args) = self.args.take() {
            self.client = Some(client(args).await?);
        }
        self.client.clone().context(NO_CLIENT)
    }
}

/// The API server's response at a path.
pub(super) async fn get(client: &kube::Client, path: &str) -> anyhow::Result<String> {
    let explained = |error: CallError| {
        let remedy = error.missing_right(": grant the user of this command the right to get it");
        anyhow!("GET {path}: {error}{}", remedy.unwrap_or_default())
    };
    // The keys of the issuer have a media type of their own, and nothing else is accepted.
    call::text(client, call::get(path, "*/*")?).await.map_err(explained)
}

/// The discovery document of the cluster's token issuer. Every ServiceAccount may read it, by the ClusterRole
/// `system:service-account-issuer-discovery`.
pub(super) async fn discovery(client: &kube::Client) -> anyhow::Result<Discovery> {
    let document = get(client, DISCOVERY_PATH).await?;
    Discovery::parse(&document)
        .with_context(|| format!("the API server, {DISCOVERY_PATH}: not a discovery document"))
}

fn parse_server(url: &str) -> anyhow::Result<Uri> {
    let server: Uri = url.parse().with_context(|| url.to_owned())?;
    ensure!(
        server.scheme().is_some() && server.host().is_some(),
        "{url}: want a URL such as https://localhost:6443"
    );
    Ok(server)
}
