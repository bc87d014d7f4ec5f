//! What is logged, and in which form.

use std::io;

use anyhow::{Context, bail};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{Layer, filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::cli::{LogArgs, LogFormat};

/// How many lines wait to be written. At `debug` that is a moment's worth under load; at `info`, days.
const WAITING_LINES: usize = 4096;

/// Logging, for as long as it lives; what waits is written when it goes, within a second.
pub(super) struct Log {
    /// Counts the lines that were dropped because nobody read those before them.
    pub(super) dropped: ErrorCounter,
    _writer: WorkerGuard,
}

/// Starts logging to standard error.
///
/// Lines are written by a thread of their own: a container runtime that has stopped reading must not stop whoever has
/// something to say, be it the watch or a request.
pub(super) fn start(args: &LogArgs) -> anyhow::Result<Log> {
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
    let writer =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(WAITING_LINES).thread_name("log");
    let (writer, guard) = writer.finish(io::stderr());
    let dropped = writer.error_counter();
    let lines = fmt::layer().with_writer(writer);
    let lines = match args.log_format {
        LogFormat::Text => lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    Ok(Log { dropped, _writer: guard })
}
