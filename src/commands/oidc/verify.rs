//! `oidc verify`.

use std::process::ExitCode;

use super::keys::{self, Signing};
use crate::{
    cli::OidcVerifyArgs,
    commands::{https::Https, print_findings},
    oidc::{Jwks, issuer::Issuer, verify_discovery, verify_issuer, verify_keys},
    report::{Finding, Findings, Level},
};

/// The exit code where the issuer publishes something else than the cluster signs with; 1 is for errors.
const DIFFERENT: u8 = 3;

pub(super) async fn verify(args: OidcVerifyArgs) -> anyhow::Result<ExitCode> {
    let https = Https::new(args.ca_file.as_deref())?;
    let Signing { issuer, tokens_name, keys, .. } = keys::load(args.keys).await?;
    let mut findings = Findings::default();
    findings.extend(compare(&https, &issuer, tokens_name.as_deref(), &keys).await);
    print_findings(&findings, args.output)?;
    Ok(if findings.verdict() < Level::Fail { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
}

/// Fetches what the issuer publishes, and compares it with these keys.
pub(in crate::commands) async fn compare(
    https: &Https,
    issuer: &Issuer,
    tokens_name: Option<&str>,
    keys: &Jwks,
) -> Vec<Finding> {
    let mut findings = verify_issuer(issuer, tokens_name);
    let document = https.get(&issuer.discovery_url()).await;
    let (of_document, uri) = verify_discovery(issuer, keys, &document);
    findings.extend(of_document);
    if let Some(uri) = uri {
        findings.extend(verify_keys(keys, &uri, &https.get(&uri).await));
    }
    findings
}
