//! What is injected, for every command that injects.

use clap::Args;

use super::container_credentials::ContainerCredentialsArgs;
use crate::injection::{
    aws_account::{AccountId, Partition},
    compat::Compat,
    settings::{
        AnnotationPrefix, Audience, DEFAULT_AUDIENCE, MountPath, Region, RoleOwner, Settings,
        TokenExpiration, VolumeName,
    },
};

/// What is injected.
#[derive(Debug, Args)]
pub struct InjectionArgs {
    /// Give the same pods as another webhook: aws for amazon-eks-pod-identity-webhook, whose defaults hold then for what
    /// is not given
    #[arg(long, env, value_name = "WEBHOOK", default_value = "none")]
    pub compat: Compat,
    /// AWS_REGION and AWS_DEFAULT_REGION of the pods; empty injects neither
    #[arg(
        long,
        env,
        value_name = "REGION",
        default_value = "us-east-1",
        default_value_if("compat", "aws", "")
    )]
    pub aws_region: Region,
    /// The prefix of the annotations and labels to read
    #[arg(long, env, value_name = "DOMAIN", default_value = "eks.amazonaws.com")]
    pub annotation_prefix: AnnotationPrefix,
    /// The audience of the projected token
    #[arg(long, env, value_name = "AUDIENCE", default_value = DEFAULT_AUDIENCE)]
    pub token_audience: Audience,
    /// The lifetime of the projected token, in seconds
    #[arg(
        long,
        env,
        value_name = "SECONDS",
        default_value = "3600",
        default_value_if("compat", "aws", "86400"),
        allow_negative_numbers = true
    )]
    pub token_expiration: TokenExpiration,
    /// Where the token is mounted
    #[arg(
        long,
        env,
        value_name = "PATH",
        default_value = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
    )]
    pub token_mount_path: MountPath,
    /// The name of the token's volume
    #[arg(
        long,
        env,
        value_name = "NAME",
        default_value = "aws-token",
        default_value_if("compat", "aws", "aws-iam-token")
    )]
    pub token_volume_name: VolumeName,
    /// Inject AWS_STS_REGIONAL_ENDPOINTS=regional
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub sts_regional_endpoints: bool,
    /// The AWS account whose roles may be named without their ARN: my-role, path/my-role
    #[arg(long, env, value_name = "ID")]
    pub aws_account_id: Option<AccountId>,
    /// The partition of that account
    #[arg(long, env, value_name = "NAME", default_value = "aws")]
    pub aws_partition: Partition,
    /// Container credentials.
    #[command(flatten, next_help_heading = "Container credentials")]
    pub container: ContainerCredentialsArgs,
}

impl InjectionArgs {
    /// The settings that were typed.
    pub fn into_settings(self) -> Settings {
        let partition = self.aws_partition;
        let role_owner = self.aws_account_id.map(|account_id| RoleOwner { partition, account_id });
        Settings {
            annotation_prefix: self.annotation_prefix,
            token_audience: self.token_audience,
            token_expiration: self.token_expiration,
            mount_path: self.token_mount_path,
            volume_name: self.token_volume_name,
            region: self.aws_region,
            sts_regional_endpoints: self.sts_regional_endpoints,
            compat: self.compat,
            container_credentials: self.container.into_settings(),
            role_owner,
        }
    }
}
