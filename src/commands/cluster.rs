//! How the cluster is reached.

use std::path::PathBuf;

use anyhow::{Context, anyhow, ensure};
use hyper::{Request, Uri};
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::{
    accounts::sources::watch,
    cli::{ClusterArgs, config::Source},
    oidc::{Discovery, issuer::DISCOVERY_PATH},
};

/// What is said of a configuration that no client can be made of.
pub(super) const NO_CLIENT: &str = "can't make a client for the cluster";

/// How the cluster that accounts come from is reached; `None` if they come from manifests.
pub(super) async fn config(source: &Source) -> anyhow::Result<Option<kube::Config>> {
    let config = match source {
        Source::Manifests(_) => return Ok(None),
        Source::InCluster => kube::Config::incluster().context(
            "not in a cluster: give --kubeconfig for another one, or --service-accounts for manifests",
        )?,
        Source::Kubeconfig { files, context, server } => {
            let server = server.as_deref().map(parse_server).transpose().context("--kube-api")?;
            match server {
                Some(server) if files.is_empty() && context.is_none() => kube::Config::new(server),
                _ => {
                    let mut config = read_config(files, context.clone()).await.context("--kubeconfig")?;
                    config.cluster_url = server.unwrap_or(config.cluster_url);
                    config
                }
            }
        }
    };
    Ok(Some(watch::tuned(config)))
}

/// A client for the cluster that a command asks: the one that was typed, the one around, or that of `~/.kube/config`.
pub(super) async fn client(args: ClusterArgs) -> anyhow::Result<kube::Client> {
    let is_around = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
    let config = match Source::from(args) {
        Source::InCluster if !is_around => {
            config(&Source::Kubeconfig { files: Vec::new(), context: None, server: None })
                .await
                .context("not in a cluster, and no kubeconfig of another one: give --kubeconfig")
        }
        source => config(&source).await,
    };
    let config = config?.context("no cluster")?;
    kube::Client::try_from(config).context(NO_CLIENT)
}

/// What the API server answers at a path.
pub(super) async fn get(client: &kube::Client, path: &str) -> anyhow::Result<String> {
    let request = Request::get(path).body(Vec::new())?;
    let told = |error| match error {
        kube::Error::Api(status) if status.code == 403 => {
            anyhow!("{}: give whoever runs this the right to get it", status.message)
        }
        kube::Error::Api(status) => anyhow!("{}", status.message),
        error => error.into(),
    };
    client.request_text(request).await.map_err(told).with_context(|| format!("the API server, {path}"))
}

/// How the API server describes its tokens' issuer. Every ServiceAccount may read it, by the ClusterRole
/// `system:service-account-issuer-discovery`.
pub(super) async fn discovery(client: &kube::Client) -> anyhow::Result<Discovery> {
    let document = get(client, DISCOVERY_PATH).await?;
    Discovery::parse(&document)
        .with_context(|| format!("the API server, {DISCOVERY_PATH}: no discovery document"))
}

fn parse_server(url: &str) -> anyhow::Result<Uri> {
    let server: Uri = url.parse().with_context(|| url.to_owned())?;
    ensure!(
        server.scheme().is_some() && server.host().is_some(),
        "{url}: want a URL such as https://localhost:6443"
    );
    Ok(server)
}

async fn read_config(files: &[PathBuf], context: Option<String>) -> anyhow::Result<kube::Config> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    Ok(kube::Config::from_custom_kubeconfig(read_kubeconfig(files)?, &options).await?)
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
