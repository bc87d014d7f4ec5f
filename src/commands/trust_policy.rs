//! `trust-policy`: the policy by which a role trusts ServiceAccounts of this cluster.

use std::process::ExitCode;

use anyhow::bail;

use super::cluster;
use crate::{
    cli::{PolicyForm, TrustPolicyArgs},
    injection::aws_account::Partition,
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
    let mut issuers: Vec<Issuer> = Vec::new();
    for issuer in args.issuer {
        if !issuers.contains(&issuer) {
            issuers.push(issuer);
        }
    }
    if issuers.is_empty() {
        issuers.push(public_issuer(&cluster::client(args.cluster).await?).await?);
    }
    issuers.iter().for_each(|issuer| warn_of(issuer, &args.aws_partition));
    let policy = TrustPolicy::from(&Trust {
        issuers,
        account: args.aws_account_id,
        partition: args.aws_partition,
        audience: args.token_audience,
        subjects: args.service_account,
    });
    let characters = policy.characters();
    if characters > DEFAULT_QUOTA {
        eprintln!(
            "warning: the policy has {characters} characters, and IAM accepts {DEFAULT_QUOTA} unless the quota \"Role trust \
             policy length\" is raised: use a wildcard, or several roles"
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

fn warn_of(issuer: &Issuer, partition: &Partition) {
    if issuer.is_internal() || issuer.has_port() {
        eprintln!(
            "warning: AWS does not accept {issuer} as an identity provider: it must be reachable from the internet, by a URL \
             without a port"
        );
    }
    if let Some(other) = issuer.partition().filter(|other| *other != partition.to_string()) {
        eprintln!(
            "warning: the issuer {issuer} is in the partition {other}, and the role in {partition}: give --aws-partition \
             {other} if the role is there, too"
        );
    }
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
