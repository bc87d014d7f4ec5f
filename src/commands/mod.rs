//! What the program can do, one file each, and what they share.

pub mod audit;
mod cluster;
pub mod compare;
pub mod completions;
mod https;
mod logging;
pub mod mutate;
pub mod oidc;
pub mod serve;
pub mod trust_policy;

use anyhow::{Context, anyhow};
use rustls::crypto::aws_lc_rs;

/// Runs what a command has to wait for, with the one crypto provider.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a crypto provider is already set"))?;
    let runtime = tokio::runtime::Runtime::new().context("can't start the runtime")?;
    runtime.block_on(work)
}
