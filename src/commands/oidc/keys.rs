//! The issuer, and the keys that the cluster signs tokens with.

use std::{fs, path::PathBuf};

use anyhow::Context;

use crate::{
    cli::OidcKeysArgs,
    commands::cluster,
    oidc::{
        Jwks,
        issuer::{Issuer, JWKS_PATH},
        read_keys,
    },
};

/// The issuer, and the keys to publish.
pub(super) struct Signing {
    /// The issuer of the flag, or else the cluster's.
    pub(super) issuer: Issuer,
    /// The issuer that the cluster's tokens name, if it was read from a cluster.
    pub(super) tokens_name: Option<String>,
    pub(super) keys: Jwks,
    /// The keys, as kube-apiserver serves them.
    pub(super) document: String,
}

/// Reads the files, or the cluster.
pub(super) async fn load(args: OidcKeysArgs) -> anyhow::Result<Signing> {
    match args.issuer {
        Some(issuer) if !args.key_file.is_empty() => {
            let keys = from_files(&args.key_file)?;
            let document = keys.to_string();
            Ok(Signing { issuer, tokens_name: None, keys, document })
        }
        typed => {
            let client = cluster::client(args.cluster).await?;
            let discovery = cluster::discovery(&client).await?;
            let document = cluster::get(&client, JWKS_PATH).await?;
            let keys = Jwks::parse(&document)
                .with_context(|| format!("the API server, {JWKS_PATH}: not a set of keys"))?;
            let issuer = match typed {
                Some(issuer) => issuer,
                None => discovery.issuer().with_context(|| {
                    format!(
                        "the cluster's issuer {:?} can't be an issuer for AWS; give the future one with --issuer",
                        discovery.name()
                    )
                })?,
            };
            Ok(Signing { issuer, tokens_name: Some(discovery.name().to_owned()), keys, document })
        }
    }
}

fn from_files(files: &[PathBuf]) -> anyhow::Result<Jwks> {
    let mut keys = Vec::new();
    for file in files {
        let name = || format!("--key-file {}", file.display());
        let pem = fs::read(file).with_context(name)?;
        keys.extend(read_keys(&pem).with_context(name)?);
    }
    Ok(keys.into())
}
