//! `oidc`: the documents that AWS reads from the issuer.

mod generate;
mod keys;
mod verify;

use std::process::ExitCode;

pub(super) use self::verify::compare;
use crate::cli::OidcCommand;

/// Writes or checks the documents.
pub fn run(command: OidcCommand) -> anyhow::Result<ExitCode> {
    match command {
        OidcCommand::Generate(args) => super::block_on(Box::pin(generate::generate(args))),
        OidcCommand::Verify(args) => super::block_on(Box::pin(verify::verify(args))),
    }
}
