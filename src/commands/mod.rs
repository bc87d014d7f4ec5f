//! What the program can do, one file each, and what they share.

pub mod audit;
mod cluster;
pub mod compare;
pub mod completions;
pub mod doctor;
mod https;
mod logging;
pub mod mutate;
pub mod oidc;
pub mod serve;
pub mod trust_policy;

use std::io::{self, Write};

use anyhow::{Context, anyhow};
use rustls::crypto::aws_lc_rs;

use crate::{cli::FindingsForm, finding::Findings};

/// Runs what a command has to wait for, with the one crypto provider.
fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a crypto provider is already set"))?;
    let runtime = tokio::runtime::Runtime::new().context("can't start the runtime")?;
    runtime.block_on(work)
}

/// Prints what was found, in the form that was typed.
fn print_findings(findings: &Findings, form: FindingsForm) -> anyhow::Result<()> {
    let text = match form {
        FindingsForm::Text => findings.to_string(),
        FindingsForm::Json => format!("{:#}\n", findings.to_json()),
    };
    io::stdout().lock().write_all(text.as_bytes()).context("can't write to standard output")
}
