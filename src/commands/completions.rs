//! `completions`: what a shell knows of the flags, from their definitions.

use clap::CommandFactory;
use clap_complete::{Generator, shells};

use crate::cli::{Cli, CompletionsArgs, Shell};

const NAME: &str = env!("CARGO_PKG_NAME");

/// Prints the script of a shell.
pub fn run(args: CompletionsArgs) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let mut cli = Cli::command();
    cli.set_bin_name(NAME);
    cli.build();
    let generator: &dyn Generator = match args.shell {
        Shell::Bash => &shells::Bash,
        Shell::Fish => &shells::Fish,
        Shell::Zsh => &shells::Zsh,
    };
    generator.generate(&cli, &mut script);
    let script = String::from_utf8(script)?;
    // clap_complete 4.6 spells a program's hyphens in two ways, and bash then completes nothing behind a command:
    // https://github.com/clap-rs/clap/issues/6421
    let script = script.replace(&NAME.replace('-', "__subcmd__"), &NAME.replace('-', "__"));
    super::print(&script)
}
