//! Reads a kubeconfig, with the errors that kubectl's users expect.

use std::{env, os::unix::fs::MetadataExt, path::PathBuf};

use anyhow::{Context, anyhow, bail, ensure};
use hyper::Uri;
use kube::config::{
    AuthInfo, Cluster, ExecConfig, KubeConfigOptions, Kubeconfig, KubeconfigError, NamedAuthInfo,
    NamedCluster,
};

use crate::kube::{client::Target, proxy::Proxy};

/// Reads the files; without any, the default kubeconfig. If several files define the same thing, the first counts.
///
/// `server` replaces that of the selected cluster.
pub(super) async fn read(
    files: &[PathBuf],
    context: Option<String>,
    server: Option<Uri>,
) -> anyhow::Result<Target> {
    let kubeconfig = merged(files)?;
    let selected = Selected::of(&kubeconfig, context.as_deref());
    if let Some((user, exec)) = &selected.exec {
        check_plugin(user, exec)?;
    }
    let proxy = selected.proxy_url.map(|url| Proxy::parse("proxy-url of the cluster", &url)).transpose()?;
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    let mut config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| match error {
            KubeconfigError::ParseProxyUrl(error) => anyhow!("HTTPS_PROXY: not the URL of a proxy: {error}"),
            error => error.into(),
        })?;
    config.cluster_url = server.unwrap_or(config.cluster_url);
    // As with kubectl, NO_PROXY does not apply to a cluster's own proxy.
    let proxy = match proxy {
        Some(proxy) => Some(proxy),
        None => Proxy::from_environment(&config.cluster_url)?,
    };
    Ok(Target { config, proxy })
}

fn merged(files: &[PathBuf]) -> anyhow::Result<Kubeconfig> {
    if files.is_empty() {
        return Ok(Kubeconfig::read()?);
    }
    let mut merged = Kubeconfig::default();
    for file in files {
        merged = merged.merge(Kubeconfig::read_from(file)?)?;
    }
    Ok(merged)
}

/// The cluster and user of a context.
struct Selected {
    proxy_url: Option<String>,
    /// The user and its credential plugin.
    exec: Option<(String, ExecConfig)>,
}

impl Selected {
    fn of(kubeconfig: &Kubeconfig, context: Option<&str>) -> Self {
        let name = context.or(kubeconfig.current_context.as_deref());
        let context = kubeconfig.contexts.iter().find(|context| Some(&*context.name) == name);
        let context = context.and_then(|context| context.context.as_ref());
        let cluster = |named: &&NamedCluster| context.is_some_and(|context| context.cluster == named.name);
        let cluster: Option<&Cluster> =
            kubeconfig.clusters.iter().find(cluster).and_then(|named| named.cluster.as_ref());
        let user = context.and_then(|context| context.user.clone()).unwrap_or_default();
        let is_user = |named: &&NamedAuthInfo| named.name == user;
        let auth: Option<&AuthInfo> =
            kubeconfig.auth_infos.iter().find(is_user).and_then(|named| named.auth_info.as_ref());
        let proxy_url = cluster.and_then(|cluster| cluster.proxy_url.clone()).filter(|url| !url.is_empty());
        Self { proxy_url, exec: auth.and_then(|auth| Some((user, auth.exec.clone()?))) }
    }
}

/// Checks that a credential plugin is installed, and can be run.
fn check_plugin(user: &str, exec: &ExecConfig) -> anyhow::Result<()> {
    let command = exec.command.as_deref().context("a credential plugin (exec) without a command")?;
    let found = if command.contains('/') {
        Some(PathBuf::from(command)).filter(|path| path.exists())
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|folder| folder.join(command)).find(|path| path.is_file())
    };
    if let Some(path) = found {
        let is_executable = path.metadata().is_ok_and(|file| file.is_file() && file.mode() & 0o111 != 0);
        ensure!(is_executable, "the credential plugin {} of user {user} is not executable", path.display());
        return Ok(());
    }
    let hint = exec.install_hint.as_deref().map(str::trim).filter(|hint| !hint.is_empty());
    let hint = hint.map_or_else(|| "install it".to_owned(), |hint| format!("its kubeconfig says:\n{hint}"));
    bail!("the credential plugin {command} of user {user} is not installed, or not in PATH; {hint}")
}
