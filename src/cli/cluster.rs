//! Which cluster, for the commands that ask one.

use std::path::PathBuf;

use clap::Args;

/// The cluster that is asked.
#[derive(Debug, Default, Args)]
pub struct ClusterArgs {
    /// The kubeconfig of the cluster (several with :). Without it: the cluster that this process runs in, or
    /// ~/.kube/config
    #[arg(long, env, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig
    #[arg(long, env, value_name = "NAME")]
    pub context: Option<String>,
}
