//! `probe`: whether the process behind a socket is ready.

use std::process::ExitCode;

use anyhow::Context;

use crate::{cli::ProbeArgs, server::probe};

/// Asks, and succeeds if the process is ready.
pub fn run(args: &ProbeArgs) -> anyhow::Result<ExitCode> {
    let path = args.probe_socket.display();
    let reason = probe::ask(&args.probe_socket).with_context(|| format!("--probe-socket {path}"))?;
    match reason {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => {
            super::print(&format!("not ready: {reason}\n"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}
