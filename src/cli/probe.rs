//! `probe`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `probe`.
#[derive(Debug, Args)]
pub struct ProbeArgs {
    /// The socket of `serve --probe-socket`
    #[arg(long, env, value_name = "FILE")]
    pub probe_socket: PathBuf,
}
