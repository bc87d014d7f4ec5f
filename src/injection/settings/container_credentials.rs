//! How pods are given container credentials, as EKS Pod Identity gives them.

use std::{fmt, str::FromStr};

use super::{Audience, InvalidSetting, MountPath, VolumeName};

/// How pods are given container credentials: a token for an agent that exchanges it.
#[derive(Clone, Debug)]
pub struct ContainerCredentials {
    /// The audience of the token.
    pub audience: Audience,
    /// Where the token's volume is mounted.
    pub mount_path: MountPath,
    /// The name of the volume.
    pub volume_name: VolumeName,
    /// The token's file within it.
    pub token_path: TokenPath,
    /// Where SDKs ask for credentials.
    pub full_uri: FullUri,
}

impl Default for ContainerCredentials {
    /// What EKS Pod Identity has.
    fn default() -> Self {
        Self {
            audience: Audience("pods.eks.amazonaws.com".into()),
            mount_path: MountPath("/var/run/secrets/pods.eks.amazonaws.com/serviceaccount".into()),
            volume_name: VolumeName("eks-pod-identity-token".into()),
            token_path: TokenPath("eks-pod-identity-token".into()),
            full_uri: FullUri("http://169.254.170.23/v1/credentials".into()),
        }
    }
}

/// A file within a volume, as kube-apiserver takes it (`validateLocalNonReservedPath`,
/// `pkg/apis/core/validation/validation.go`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPath(Box<str>);

impl FromStr for TokenPath {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_part = |part: &str| !part.is_empty() && part != "..";
        let valid =
            text.split('/').all(is_part) && !text.starts_with("..") && !text.contains(char::is_control);
        valid.then(|| Self(text.into())).ok_or(InvalidSetting::TokenPath)
    }
}

/// A URI of the agent. Any word is taken, as the AWS webhook takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullUri(Box<str>);

impl FullUri {
    /// Whether SDKs can ask there.
    pub fn is_http(&self) -> bool {
        let rest = self.0.strip_prefix("http://").or_else(|| self.0.strip_prefix("https://"));
        rest.is_some_and(|rest| !rest.is_empty())
    }
}

impl FromStr for FullUri {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        valid.then(|| Self(text.into())).ok_or(InvalidSetting::FullUri)
    }
}

text_setting!(TokenPath, FullUri);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_paths_stay_within_the_volume() {
        assert!(
            ["token", "eks-pod-identity-token", "a/b"].iter().all(|text| text.parse::<TokenPath>().is_ok())
        );
        for bad in ["", "/token", "../token", "a/../b", "a//b", "..data", "a/"] {
            assert!(bad.parse::<TokenPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_agent_speaks_http() {
        for good in
            ["http://169.254.170.23/v1/credentials", "https://agent", "http://[fd00:ec2::23]/v1/credentials"]
        {
            assert!(good.parse::<FullUri>().unwrap().is_http(), "{good}");
        }
        for odd in ["169.254.170.23", "http://", "uri"] {
            assert!(!odd.parse::<FullUri>().unwrap().is_http(), "{odd}");
        }
        for bad in ["", "http://a b"] {
            assert!(bad.parse::<FullUri>().is_err(), "{bad:?}");
        }
    }
}
