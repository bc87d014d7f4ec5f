//! Container credentials, by the flags of the AWS webhook.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::injection::settings::{Audience, ContainerCredentials, FullUri, MountPath, TokenPath, VolumeName};

/// How pods are given container credentials, and which.
#[derive(Debug, Args)]
pub struct ContainerCredentialsArgs {
    /// Give container credentials, as EKS Pod Identity does, to the accounts that this JSON file lists, even if they
    /// have a role. Read again when it changes
    #[arg(long, env, value_name = "FILE")]
    pub watch_container_credentials_config: Option<PathBuf>,
    /// The audience of their token
    #[arg(long, env, value_name = "AUDIENCE", default_value = "pods.eks.amazonaws.com")]
    pub container_credentials_audience: Audience,
    /// Where their token is mounted
    #[arg(
        long,
        env,
        value_name = "PATH",
        default_value = "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount"
    )]
    pub container_credentials_token_mount_path: MountPath,
    /// The name of their token's volume
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-token")]
    pub container_credentials_token_volume_name: VolumeName,
    /// Their token's file within the volume
    #[arg(long, env, value_name = "PATH", default_value = "eks-pod-identity-token")]
    pub container_credentials_token_path: TokenPath,
    /// The URL from which SDKs fetch them: AWS_CONTAINER_CREDENTIALS_FULL_URI
    #[arg(long, env, value_name = "URI", default_value = "http://169.254.170.23/v1/credentials")]
    pub container_credentials_full_uri: FullUri,
}

impl ContainerCredentialsArgs {
    /// The file, if there is to be one.
    pub fn file(&self) -> Option<&Path> {
        self.watch_container_credentials_config.as_deref()
    }

    /// The settings that were typed, if there are to be any such credentials.
    pub fn into_settings(self) -> Option<ContainerCredentials> {
        self.file()?;
        Some(ContainerCredentials {
            audience: self.container_credentials_audience,
            mount_path: self.container_credentials_token_mount_path,
            volume_name: self.container_credentials_token_volume_name,
            token_path: self.container_credentials_token_path,
            full_uri: self.container_credentials_full_uri,
        })
    }
}
