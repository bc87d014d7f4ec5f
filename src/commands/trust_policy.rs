//! `trust-policy`: the policy by which a role trusts ServiceAccounts of this cluster.

use std::process::ExitCode;

use anyhow::bail;

use super::cluster;
use crate::{
    cli::{PolicyForm, TrustPolicyArgs},
    oidc::{
        issuer::Issuer,
        trust_policy::{DEFAULT_QUOTA, Trust, TrustPolicy},
    },
};

/// Prints the policy.
pub fn run(args: TrustPolicyArgs) -> anyhow::Result<ExitCode> {
    super::block_on(Box::pin(print(args)))
}

async fn print(args: TrustPolicyArgs) -> anyhow::Result<ExitCode> {
    let every = args.service_account.iter().find(|subject| subject.trusts_every_namespace());
    if let (Some(subject), false) = (every, args.allow_any_service_account) {
        bail!(
            "--service-account {subject}: pods of every namespace could assume the role. Name the namespaces, or give \
             --allow-any-service-account if that is what you want"
        );
    }
    let issuer = match args.issuer {
        Some(issuer) => issuer,
        None => public_issuer(&cluster::client(args.cluster).await?).await?,
    };
    if issuer.is_internal() || issuer.has_port() {
        eprintln!(
            "warning: AWS takes no identity provider {issuer}: it has to be reached from outside, by a URL without a port"
        );
    }
    let policy = TrustPolicy::from(&Trust {
        issuer,
        account: args.aws_account_id,
        partition: args.aws_partition,
        audience: args.token_audience,
        subjects: args.service_account,
    });
    let characters = policy.characters();
    if characters > DEFAULT_QUOTA {
        eprintln!(
            "warning: {characters} characters, and IAM takes {DEFAULT_QUOTA} unless the quota \"Role trust policy \
             length\" is raised: use a wildcard, or several roles"
        );
    }
    let text = match args.output {
        PolicyForm::Json => format!("{:#}\n", policy.to_json()),
        PolicyForm::Terraform => policy.to_terraform(),
        PolicyForm::Cloudformation => policy.to_cloudformation(),
    };
    super::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The issuer that the cluster's tokens name, if AWS can know it.
async fn public_issuer(client: &kube::Client) -> anyhow::Result<Issuer> {
    let issuer = cluster::discovery(client).await?.issuer()?;
    if issuer.is_internal() {
        bail!(
            "the cluster's issuer {issuer} can't be reached by AWS: make one that can (docs/install), or give the one to \
             be with --issuer"
        );
    }
    Ok(issuer)
}
