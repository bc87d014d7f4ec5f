//! The binary: allocator, parsing, exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use eks_pod_identity_webhook::{
    cli::{Cli, Command},
    commands,
};

/// Answers are many short-lived buffers on several threads, and the cache is many small long-lived ones: both are what
/// mimalloc is good at, and in a static binary musl's own allocator is several times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        None => commands::serve::run(cli.serve),
        Some(Command::Serve(args)) => commands::serve::run(*args),
        Some(Command::Mutate(args)) => commands::mutate::run(*args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
