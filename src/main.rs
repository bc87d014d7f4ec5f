//! The binary: allocator, parsing, exit code. Everything else is in the library.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use eks_pod_identity_webhook::{
    cli::{Cli, Command},
    commands,
};

/// Answers are many short-lived buffers on several threads, and the cache is many small long-lived ones: both are what
/// mimalloc is good at, and in a static binary musl's own allocator is several times slower. Huge pages are off: they
/// would make 2 MB resident where a few KB are in use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let result = match Cli::from_args().command {
        Command::Serve(args) => commands::serve::run(*args),
        Command::Mutate(args) => commands::mutate::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Compare(args) => commands::compare::run(*args),
        Command::Audit(args) => commands::audit::run(*args),
        Command::Doctor(args) => commands::doctor::run(*args),
        Command::Probe(args) => commands::probe::run(&args),
        Command::Completions(args) => commands::completions::run(args).map(|()| ExitCode::SUCCESS),
        Command::Oidc(command) => commands::oidc::run(*command),
        Command::TrustPolicy(args) => commands::trust_policy::run(*args),
    };
    result.unwrap_or_else(|error| {
        writeln!(io::stderr(), "error: {}", commands::in_words(&error)).ok();
        ExitCode::FAILURE
    })
}
