//! Starts logging: which lines, and in which form.

mod lines;

use std::io::{self, Write};

use anyhow::{Context, bail};
use prometheus::IntCounter;
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use self::lines::Lines;
use crate::{
    cli::{LogArgs, LogFormat},
    commands::in_words,
};

/// Logs as long as it exists. Remaining lines are written when it is dropped, within a moment.
pub(super) struct Log(Lines);

impl Log {
    /// Says what the process ends with, in the form of every command.
    pub(super) fn end_with(&mut self, error: &anyhow::Error) {
        self.0.write_all(format!("error: {}\n", in_words(error)).as_bytes()).ok();
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.finish();
    }
}

/// Starts logging to standard error, and counts the lines that are dropped.
pub(super) fn start(args: &LogArgs, dropped: IntCounter) -> anyhow::Result<Log> {
    let (from, text) = match (args.log_level.clone(), std::env::var("RUST_LOG")) {
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
    let lines = Lines::start(io::stderr(), dropped).context("can't start the log")?;
    let log = Log(lines.clone());
    let lines = fmt::layer().with_writer(move || lines.clone());
    let lines = match args.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    Ok(log)
}
