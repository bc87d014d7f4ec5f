//! `trust-policy`.

use clap::{Args, ValueEnum};

use super::ClusterArgs;
use crate::{
    injection::{
        aws_account::{AccountId, Partition},
        settings::{Audience, DEFAULT_AUDIENCE},
    },
    oidc::{issuer::Issuer, trust_policy::Subject},
};

/// Flags of `trust-policy`.
#[derive(Debug, Args)]
pub struct TrustPolicyArgs {
    /// A ServiceAccount to trust, as NAMESPACE/NAME; * and ? are wildcards, to be quoted for the shell. Several with
    /// commas, or by giving the flag again
    #[arg(
        long,
        env = "TRUST_POLICY_SERVICE_ACCOUNT",
        value_name = "NAMESPACE/NAME",
        required = true,
        value_delimiter = ','
    )]
    pub service_account: Vec<Subject>,
    /// The AWS account that has the issuer as an identity provider
    #[arg(long, env, value_name = "NUMBER")]
    pub aws_account_id: AccountId,
    /// The partition of that account: aws, aws-cn, aws-us-gov, aws-eusc, aws-iso, …
    #[arg(long, env, value_name = "NAME", default_value = "aws")]
    pub aws_partition: Partition,
    /// The cluster's OIDC issuer. Without it, the cluster is asked. Several with commas, or by giving the flag again: then
    /// the role trusts the ServiceAccounts of each of these clusters
    #[arg(long, env = "TRUST_POLICY_ISSUER", value_name = "URL", value_delimiter = ',')]
    pub issuer: Vec<Issuer>,
    /// The audience of the tokens
    #[arg(long, env, value_name = "AUDIENCE", default_value = DEFAULT_AUDIENCE)]
    pub token_audience: Audience,
    /// Also print policies that trust the pods of every namespace
    #[arg(long, env = "TRUST_POLICY_ALLOW_ANY_SERVICE_ACCOUNT", value_name = "BOOL", default_value = "false",
        default_missing_value = "true", num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub allow_any_service_account: bool,
    /// What to print
    #[arg(short, long, env = "TRUST_POLICY_OUTPUT", value_name = "FORM", default_value = "json")]
    pub output: PolicyForm,
    /// Which cluster is asked for its issuer.
    #[command(flatten, next_help_heading = "Cluster")]
    pub cluster: ClusterArgs,
}

/// How a policy is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PolicyForm {
    /// The document itself, as `aws iam create-role` takes it
    Json,
    /// A data source `aws_iam_policy_document`
    Terraform,
    /// The property AssumeRolePolicyDocument of an AWS::IAM::Role, in YAML
    Cloudformation,
}
