//! `completions` and `man-pages`.

use std::path::PathBuf;

use clap::Args;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that completes
    pub shell: Shell,
}

/// Arguments of `man-pages`.
#[derive(Debug, Args)]
pub struct ManPagesArgs {
    /// The folder to write to, such as /usr/local/share/man/man1
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}
