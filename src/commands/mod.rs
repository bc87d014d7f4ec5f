//! What the program can do, one file each, and what they share.

mod cluster;
pub mod compare;
pub mod completions;
mod https;
mod logging;
pub mod mutate;
pub mod oidc;
pub mod serve;
pub mod trust_policy;

use std::{pin::Pin, process::ExitCode};

use anyhow::{Context, anyhow};
use rustls::crypto::aws_lc_rs;

/// What a command waits for: its exit code.
type Work = Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>>>>;

/// Runs a command's work, with the one crypto provider. All have one type, or the binary would hold the runtime's loop
/// once for each.
fn block_on(work: Work) -> anyhow::Result<ExitCode> {
    aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a crypto provider is already set"))?;
    let runtime = tokio::runtime::Runtime::new().context("can't start the runtime")?;
    runtime.block_on(work)
}
