//! The settings of the injection: names, values and their limits.
//!
//! Each setting is a type that can only hold what Kubernetes and STS accept, so a bad value ends the start and
//! nothing behind this module checks again.

use std::{borrow::Cow, fmt, str::FromStr, sync::Arc};

use thiserror::Error;

use super::{
    aws_account::{AccountId, Partition},
    compat::Compat,
};

/// The token's file within its volume, as EKS names it.
pub const TOKEN_PATH: &str = "token";

/// The audience that AWS expects of a token, and what a token's is by default.
pub const DEFAULT_AUDIENCE: &str = "sts.amazonaws.com";

/// The region of pods where nothing else is configured.
pub const DEFAULT_REGION: &str = "us-east-1";

/// The operating system of a pod's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Os {
    /// Linux, and every pod that does not ask for Windows.
    Linux,
    /// Windows, where the token's path in the environment takes another form.
    Windows,
}

/// How pods are injected: the settings that are the same for every ServiceAccount.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The prefix of every annotation and label this program reads.
    pub annotation_prefix: AnnotationPrefix,
    /// The audience of the projected token, unless the ServiceAccount names another.
    pub token_audience: Audience,
    /// The lifetime asked for the projected token, unless the pod or the ServiceAccount names another.
    pub token_expiration: TokenExpiration,
    /// Where the token volume is mounted.
    pub mount_path: MountPath,
    /// The name of the token volume.
    pub volume_name: VolumeName,
    /// `AWS_REGION` and `AWS_DEFAULT_REGION`; empty injects neither.
    pub region: Region,
    /// Whether that is the built-in default.
    pub region_is_built_in: bool,
    /// Which `AWS_ROLE_SESSION_NAME` is injected.
    pub session_name: SessionName,
    /// Further variables for every injected container.
    pub inject_env: Box<[InjectedVariable]>,
    /// Whether `AWS_STS_REGIONAL_ENDPOINTS=regional` is injected.
    pub sts_regional_endpoints: bool,
    /// Which webhook's rules are followed.
    pub compat: Compat,
    /// How pods are given container credentials, if any are.
    pub container_credentials: Option<ContainerCredentials>,
    /// Whose roles are named without their ARN, if such names are completed.
    pub role_owner: Option<RoleOwner>,
}

/// The AWS account whose roles may be named without their ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleOwner {
    /// Its partition.
    pub partition: Partition,
    /// Its number.
    pub account_id: AccountId,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            annotation_prefix: AnnotationPrefix("eks.amazonaws.com/".into()),
            token_audience: Audience(DEFAULT_AUDIENCE.into()),
            token_expiration: TokenExpiration(3600),
            mount_path: MountPath("/var/run/secrets/eks.amazonaws.com/serviceaccount".into()),
            volume_name: VolumeName("aws-token".into()),
            region: Region(DEFAULT_REGION.into()),
            region_is_built_in: true,
            session_name: SessionName::Pod,
            inject_env: Box::default(),
            sts_regional_endpoints: false,
            compat: Compat::None,
            container_credentials: None,
            role_owner: None,
        }
    }
}

/// Why a setting is refused. The caller adds the name of the flag.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum InvalidSetting {
    /// Not a DNS subdomain.
    #[error("an annotation prefix is a DNS subdomain of at most 253 characters, such as eks.amazonaws.com")]
    AnnotationPrefix,
    /// An empty audience, or one with white space.
    #[error("an audience is a non-empty word without white space, such as sts.amazonaws.com")]
    Audience,
    /// Out of the range kube-apiserver takes.
    #[error("a token expiration is a whole number of seconds from 600 to 4294967296")]
    TokenExpiration,
    /// Not an absolute path that can be mounted.
    #[error("a mount path is absolute, is not / itself and holds no ':' or control character")]
    MountPath,
    /// Not a DNS label with room for a suffix.
    #[error(
        "a volume name is a DNS label (a-z, 0-9, '-') of at most 56 characters, \
         so that a suffix such as -2 still fits"
    )]
    VolumeName,
    /// Not a file within a volume.
    #[error("a token path is relative and stays within its volume, such as token or a/token")]
    TokenPath,
    /// An empty URI, or one with white space.
    #[error("a full URI is a word without white space, such as http://169.254.170.23/v1/credentials")]
    FullUri,
    /// Not a region name.
    #[error("a region is a name such as us-west-2 (a-z, 0-9, '-'), or empty to inject none")]
    Region,
    /// Not a way to name sessions.
    #[error("want pod, for the pod's name, or none")]
    SessionName,
    /// Not a variable to inject.
    #[error(
        "want NAME=VALUE: a name of letters, digits, '_', '-' and '.', and a value of at most 4096 characters, \
         such as AWS_USE_FIPS_ENDPOINT=true"
    )]
    InjectedVariable,
    /// A variable that this program injects by itself, or that would replace what it injects.
    #[error(
        "this variable can't be injected: it is injected by itself, or replaces the credentials of the role"
    )]
    ReservedVariable,
}

/// The prefix of annotations and labels, kept with its `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnotationPrefix(Box<str>);

impl AnnotationPrefix {
    /// The part of `key` behind the prefix and its `/`, if `key` carries the prefix.
    pub fn strip<'k>(&self, key: &'k str) -> Option<&'k str> {
        key.strip_prefix(&*self.0)
    }

    /// The prefix without its `/`.
    pub fn domain(&self) -> &str {
        self.0.trim_end_matches('/')
    }

    /// The whole key of the annotation called `name`.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.0)
    }
}

impl FromStr for AnnotationPrefix {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let domain = text.strip_suffix('/').unwrap_or(text);
        let valid = is_dns_subdomain(domain);
        valid.then(|| Self(format!("{domain}/").into())).ok_or(InvalidSetting::AnnotationPrefix)
    }
}

/// The audience of a projected token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audience(Arc<str>);

impl FromStr for Audience {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        valid.then(|| Self(text.into())).ok_or(InvalidSetting::Audience)
    }
}

/// The `expirationSeconds` of a projected token, within what kube-apiserver takes: 600 to 2^32
/// (`validateProjectedVolumeSource`, `pkg/apis/core/validation/validation.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenExpiration(u64);

impl TokenExpiration {
    const MIN: u64 = 600;
    const MAX: u64 = 1 << 32;

    /// The expiration in seconds.
    pub fn seconds(self) -> u64 {
        self.0
    }

    /// Whether an annotation of this text was brought into the range.
    pub fn is_clamped(self, text: &str) -> bool {
        text.trim().parse() != Ok(self.0)
    }

    /// Reads an annotation: any whole number, brought into the range; `None` if it is not a number.
    pub fn from_annotation(text: &str) -> Option<Self> {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let text = text.trim();
        // An overflow is reported before the end is reached.
        if !text.bytes().skip(1).all(|c| c.is_ascii_digit()) {
            return None;
        }
        match text.parse::<i128>() {
            Ok(seconds) => {
                let seconds = seconds.clamp(Self::MIN.into(), Self::MAX.into());
                u64::try_from(seconds).ok().map(Self)
            }
            Err(error) if *error.kind() == PosOverflow => Some(Self(Self::MAX)),
            Err(error) if *error.kind() == NegOverflow => Some(Self(Self::MIN)),
            Err(_) => None,
        }
    }
}

impl FromStr for TokenExpiration {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(seconds @ Self::MIN..=Self::MAX) => Ok(Self(seconds)),
            _ => Err(InvalidSetting::TokenExpiration),
        }
    }
}

/// Where the token volume is mounted, without a trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPath(Box<str>);

impl MountPath {
    /// The token file's path as the AWS SDK is told it.
    pub fn token_file(&self, token_path: &str, os: Os) -> String {
        match os {
            Os::Linux => format!("{self}/{token_path}"),
            Os::Windows => format!("C:{self}/{token_path}").replace('/', r"\"),
        }
    }

    /// Whether a container's mount or device at `path` stands where the token is to be mounted.
    pub fn is(&self, path: &str) -> bool {
        path.trim_end_matches('/') == &*self.0
    }
}

impl FromStr for MountPath {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.trim_end_matches('/');
        let valid = path.starts_with('/') && !path.contains(|c: char| c == ':' || c.is_control());
        valid.then(|| Self(path.into())).ok_or(InvalidSetting::MountPath)
    }
}

/// The name of the token volume; [`VolumeName::numbered`] gives the names tried where it is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeName(Box<str>);

impl VolumeName {
    /// The name to use where the first `number - 1` names are taken: `aws-token`, `aws-token-2`, …
    pub fn numbered(&self, number: usize) -> Cow<'_, str> {
        if number < 2 { self.as_ref().into() } else { format!("{self}-{number}").into() }
    }

    /// The inverse of [`VolumeName::numbered`]: which of those names `name` is, if it is one.
    pub fn number_of(&self, name: &str) -> Option<usize> {
        let rest = name.strip_prefix(&*self.0)?;
        if rest.is_empty() {
            return Some(1);
        }
        let digits = rest.strip_prefix('-')?;
        let number = digits.parse().ok().filter(|&number| number >= 2)?;
        (!digits.starts_with(['0', '+'])).then_some(number)
    }
}

impl FromStr for VolumeName {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.len() <= 56 && is_dns_label(text);
        valid.then(|| Self(text.into())).ok_or(InvalidSetting::VolumeName)
    }
}

/// The default region of the pods; empty for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region(Arc<str>);

impl FromStr for Region {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let valid = text.is_empty() || is_dns_label(text);
        valid.then(|| Self(text.into())).ok_or(InvalidSetting::Region)
    }
}

macro_rules! text_setting {
    ($($setting:ident),*) => {$(
        impl fmt::Display for $setting {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $setting {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

mod container_credentials;
mod environment;

pub use self::{
    container_credentials::{ContainerCredentials, FullUri, TokenPath},
    environment::{InjectedVariable, MAX_INJECTED_VARIABLES, SessionName},
};

text_setting!(AnnotationPrefix, Audience, MountPath, VolumeName, Region);

impl fmt::Display for TokenExpiration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A DNS label, as RFC 1123 and `IsDNS1123Label` (`apimachinery/pkg/util/validation`) have it.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    matches!(text.len(), 1..=63) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// A DNS subdomain, as RFC 1123 and `IsDNS1123Subdomain` have it: what most objects of Kubernetes may be called.
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_dns_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_expirations_of_annotations_are_brought_into_the_range() {
        let seconds = |text: &str| TokenExpiration::from_annotation(text).map(TokenExpiration::seconds);
        assert_eq!(seconds("7200"), Some(7200));
        assert_eq!(seconds(" 7200 "), Some(7200));
        assert_eq!(seconds("60"), Some(600));
        assert_eq!(seconds("-1"), Some(600));
        assert_eq!(seconds("4294967297"), Some(1 << 32));
        assert_eq!(seconds(&"9".repeat(60)), Some(1 << 32));
        assert_eq!(seconds(&format!("-{}", "9".repeat(60))), Some(600));
        let number_no_more = format!("{}?", "9".repeat(60));
        for bad in ["", "-", "forever", "1h", "3600.0", "1e3", &number_no_more] {
            assert_eq!(seconds(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn token_expirations_of_flags_must_be_in_the_range() {
        for (text, valid) in
            [("600", true), ("4294967296", true), ("599", false), ("4294967297", false), ("", false)]
        {
            assert_eq!(text.parse::<TokenExpiration>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn prefixes_are_kept_with_one_slash() {
        for text in ["eks.amazonaws.com", "eks.amazonaws.com/"] {
            let prefix: AnnotationPrefix = text.parse().unwrap();
            assert_eq!(prefix.key("role-arn"), "eks.amazonaws.com/role-arn");
            assert_eq!(prefix.strip("eks.amazonaws.com/region"), Some("region"));
            assert_eq!(prefix.strip("eks.amazonaws.com.evil/region"), None);
        }
        for bad in ["", "/", "a//", "Eks.amazonaws.com", "a..b", "a b"] {
            assert!(bad.parse::<AnnotationPrefix>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn mount_paths_compare_without_trailing_slashes() {
        let path: MountPath = "/var/run/token/".parse().unwrap();
        assert!(path.is("/var/run/token") && path.is("/var/run/token/"));
        assert!(!path.is("/var/run/token2") && !path.is("/var/run"));
        assert_eq!(path.token_file(TOKEN_PATH, Os::Linux), "/var/run/token/token");
        assert_eq!(path.token_file(TOKEN_PATH, Os::Windows), r"C:\var\run\token\token");
        for bad in ["", "/", "relative", "C:/token", "/a\nb"] {
            assert!(bad.parse::<MountPath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn volume_names_and_their_numbers_are_inverse() {
        let name: VolumeName = "aws-token".parse().unwrap();
        for number in 1..30 {
            assert_eq!(name.number_of(&name.numbered(number)), Some(number));
        }
        for other in
            ["aws", "aws-token-", "aws-token-1", "aws-token-02", "aws-token-+2", "aws-token2", "x-aws-token"]
        {
            assert_eq!(name.number_of(other), None, "{other:?}");
        }
        assert!("a".repeat(57).parse::<VolumeName>().is_err());
    }

    #[test]
    fn a_region_may_be_empty() {
        assert!("".parse::<Region>().is_ok() && "us-gov-west-1".parse::<Region>().is_ok());
        assert!("us west".parse::<Region>().is_err());
    }
}
