//! What is logged, and in which form.

use std::io;

use anyhow::{Context, bail};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::cli::{LogArgs, LogFormat};

/// Starts logging to standard error.
pub(super) fn start(args: &LogArgs) -> anyhow::Result<()> {
    let (from, text) =
        match (args.log_level.clone().filter(|text| !text.is_empty()), std::env::var("RUST_LOG")) {
            (Some(text), _) => ("--log-level", text),
            (None, Ok(text)) if !text.is_empty() => ("RUST_LOG", text),
            (None, _) => ("--log-level", "info".to_owned()),
        };
    // A bare level is about this program. What kube has to say of its failures, the watch says itself, less often.
    let is_level = text.parse::<tracing::level_filters::LevelFilter>().is_ok();
    let want = || {
        format!(
            "{from} {text:?}: want off, error, warn, info, debug, trace or a filter such as info,kube=debug"
        )
    };
    if !is_level && !text.contains(['=', ',']) {
        // A filter would take the word for the name of a module, and nothing would be logged.
        bail!(want());
    }
    let filter = if is_level {
        format!("error,kube=off,kube_client=off,kube_runtime=off,eks_pod_identity_webhook={text}")
    } else {
        text.clone()
    };
    let filter: Targets = filter.parse().with_context(want)?;
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match args.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    Ok(())
}
