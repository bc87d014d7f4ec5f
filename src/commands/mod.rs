//! The commands, a file or folder each, and the code that they share.

mod accounts;
pub mod audit;
mod cluster;
pub mod compare;
pub mod completions;
pub mod doctor;
mod https;
mod kubeconfig;
pub mod mutate;
mod objects;
mod offline;
pub mod oidc;
pub mod probe;
pub mod serve;
pub mod trust_policy;

use std::{
    fmt::Display,
    io::{self, Write},
    pin::Pin,
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use rustls::crypto::aws_lc_rs;
use serde_json::Value;
use tokio::runtime::Builder;

use crate::{cli::ReportForm, report::Findings};

/// The work of a command, which returns its exit code.
type Work = Pin<Box<dyn Future<Output = anyhow::Result<ExitCode>>>>;

/// Runs a command's work, with the one crypto provider. All have one type, or the binary would hold the runtime's loop
/// once for each.
fn block_on(work: Work) -> anyhow::Result<ExitCode> {
    run(Builder::new_multi_thread().enable_all(), work)
}

/// The same, on this thread alone.
fn block_on_one_thread(work: Work) -> anyhow::Result<ExitCode> {
    run(Builder::new_current_thread().enable_all(), work)
}

fn run(runtime: &mut Builder, work: Work) -> anyhow::Result<ExitCode> {
    aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("a crypto provider is already set"))?;
    let runtime = runtime.build().context("can't start the runtime")?;
    let ended = runtime.block_on(work);
    // The end does not wait for a thread that is blocked, such as by a credential plugin.
    runtime.shutdown_background();
    ended
}

/// An error with its causes, each said once: some errors of libraries end with the text of their cause.
pub fn in_words(error: &anyhow::Error) -> String {
    let mut words = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match words.is_empty() {
            true => words = cause,
            false if words.ends_with(&cause) => {}
            false => words = format!("{words}: {cause}"),
        }
    }
    words
}

/// Prints what was found, in the form that was typed.
fn print_findings(findings: &Findings, form: ReportForm) -> anyhow::Result<()> {
    print_report(findings, || findings.to_json(), form)
}

/// Prints a report, in the form that was typed.
fn print_report(text: &dyn Display, json: impl FnOnce() -> Value, form: ReportForm) -> anyhow::Result<()> {
    print(&match form {
        ReportForm::Text => text.to_string(),
        ReportForm::Json => format!("{:#}\n", json()),
    })
}

/// Prints the output of a command. A closed standard output is an error, not a panic.
fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context("can't write to standard output")
}
