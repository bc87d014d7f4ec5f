//! `oidc verify`.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;

use super::keys::{self, Signing};
use crate::{
    cli::{OidcVerifyArgs, ReportForm},
    commands::https::Https,
    finding::{Findings, Level},
    oidc::{verify_discovery, verify_issuer, verify_keys},
};

/// What is published differs from what is signed; 1 is that it could not be told.
const DIFFERENT: u8 = 3;

pub(super) async fn verify(args: OidcVerifyArgs) -> anyhow::Result<ExitCode> {
    let https = Https::new(args.ca_file.as_deref())?;
    let Signing { issuer, tokens_name, keys, .. } = keys::load(args.keys).await?;
    let mut findings = Findings::default();
    findings.extend(verify_issuer(&issuer, tokens_name.as_deref()));
    let document = https.get(&issuer.discovery_url()).await;
    let (of_document, uri) = verify_discovery(&issuer, &keys, &document);
    findings.extend(of_document);
    if let Some(uri) = uri {
        findings.extend(verify_keys(&keys, &uri, &https.get(&uri).await));
    }

    let text = match args.output {
        ReportForm::Text => findings.to_string(),
        ReportForm::Json => format!("{:#}\n", findings.to_json()),
    };
    io::stdout().lock().write_all(text.as_bytes()).context("can't write to standard output")?;
    Ok(if findings.verdict() < Level::Fail { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}
