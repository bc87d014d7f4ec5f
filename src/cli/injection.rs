//! Flags of the injection, for every command that injects.

use clap::Args;

use super::container_credentials::ContainerCredentialsArgs;
use crate::injection::{
    aws_account::{AccountId, Partition},
    compat::Compat,
    settings::{
        AnnotationPrefix, Audience, DEFAULT_AUDIENCE, DEFAULT_REGION, InjectedVariable, MountPath, Region,
        RoleOwner, SessionName, Settings, TokenExpiration, VolumeName,
    },
};

/// Flags of the injection.
#[derive(Debug, Args)]
pub struct InjectionArgs {
    /// Give pods what another webhook gives them. aws: amazon-eks-pod-identity-webhook, with its defaults for flags
    /// that are not given
    #[arg(long, env, value_name = "WEBHOOK", default_value = "none")]
    pub compat: Compat,
    /// AWS_REGION and AWS_DEFAULT_REGION of the pods; empty injects neither. Without it, us-east-1 is injected, except into
    /// containers with envFrom, which may set the region; with --compat=aws, none
    #[arg(long, env, value_name = "REGION")]
    pub aws_region: Option<Region>,
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
    /// Which AWS_ROLE_SESSION_NAME to inject: the pod's name, or none
    #[arg(long, env, value_name = "NAME", default_value = "pod", default_value_if("compat", "aws", "none"))]
    pub session_name: SessionName,
    /// A further variable for every injected container, such as AWS_USE_FIPS_ENDPOINT=true; repeatable. Containers that
    /// have the variable keep theirs. In the environment: one on each line
    #[arg(long, env, value_name = "NAME=VALUE", value_delimiter = '\n')]
    pub inject_env: Vec<InjectedVariable>,
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
        let built_in = || match self.compat {
            Compat::None => DEFAULT_REGION,
            Compat::Aws => "",
        };
        Settings {
            region_is_built_in: self.aws_region.is_none(),
            region: self.aws_region.unwrap_or_else(|| built_in().parse().expect("the default is a region")),
            session_name: self.session_name,
            inject_env: self.inject_env.into(),
            annotation_prefix: self.annotation_prefix,
            token_audience: self.token_audience,
            token_expiration: self.token_expiration,
            mount_path: self.token_mount_path,
            volume_name: self.token_volume_name,
            sts_regional_endpoints: self.sts_regional_endpoints,
            compat: self.compat,
            container_credentials: self.container.into_settings(),
            role_owner,
        }
    }
}
