//! `completions` and `man-pages`: what a shell and `man` know of the flags, from their definitions.

use std::{
    fs,
    io::{self, Write},
};

use anyhow::Context;
use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs, ManPagesArgs};

const NAME: &str = env!("CARGO_PKG_NAME");

/// Prints the script of a shell.
pub fn run(args: CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), NAME, &mut script);
    let script = String::from_utf8(script)?;
    // clap_complete 4.6 spells a program's hyphens in two ways, and bash then completes nothing behind a command:
    // https://github.com/clap-rs/clap/issues/6421
    let script = script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"));
    io::stdout().lock().write_all(script.as_bytes()).context("can't write to standard output")
}

/// Writes a page for the program and one for each command.
pub fn write_man_pages(args: ManPagesArgs) -> anyhow::Result<()> {
    let dir = args.dir;
    fs::create_dir_all(&dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), &dir))
        .with_context(|| format!("{}: can't write the pages", dir.display()))
}
