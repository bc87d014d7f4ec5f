//! How the cluster is reached.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use hyper::Uri;
use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::{accounts::watch, config::Source};

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
