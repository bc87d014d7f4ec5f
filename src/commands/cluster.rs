//! How the cluster is reached.

use std::path::PathBuf;

use anyhow::Context;
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
        Source::Kubeconfig { files, context } => {
            let kubeconfig = read_kubeconfig(files).context("--kubeconfig")?;
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.context("--kubeconfig")?
        }
    };
    Ok(Some(watch::tuned(config)))
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
