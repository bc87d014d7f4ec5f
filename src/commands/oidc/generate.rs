//! `oidc generate`.

use std::{fs, io, path::Path, process::ExitCode};

use anyhow::{Context, bail};

use super::keys::{self, Signing};
use crate::{
    cli::OidcGenerateArgs,
    oidc::{
        Discovery,
        issuer::{DISCOVERY_PATH, JWKS_PATH},
    },
};

pub(super) async fn generate(args: OidcGenerateArgs) -> anyhow::Result<ExitCode> {
    let Signing { issuer, keys, document, .. } = keys::load(args.keys).await?;
    if issuer.is_internal() {
        bail!("AWS can't reach the issuer {issuer}: give the future one with --issuer");
    }
    let discovery = Discovery::of(&issuer, &keys).to_string();
    let mut summary = String::new();
    for (path, text, url) in
        [(DISCOVERY_PATH, discovery, issuer.discovery_url()), (JWKS_PATH, document, issuer.jwks_url())]
    {
        let file = args.output_dir.join(path.trim_start_matches('/'));
        write(&file, &text).with_context(|| format!("--output-dir: can't write {}", file.display()))?;
        summary += &format!("{}\n    to be served at {url}\n", file.display());
    }
    for key in keys.keys() {
        summary += &format!("key {} ({})\n", key.id(), key.algorithm());
    }
    crate::commands::print(&summary)?;
    Ok(ExitCode::SUCCESS)
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(file, text)
}
