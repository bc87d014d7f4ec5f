//! A ServiceAccount's annotations → what its pods are given, parsed and rendered once.

mod annotations;
mod binder;
mod container;
mod terms;

use std::sync::Arc;

pub(crate) use self::annotations::parse_bool;
pub use self::binder::Binder;
use super::{
    render,
    settings::{Region, TokenExpiration},
    warning::{Warning, WarningKind},
};

/// A ServiceAccount as far as this program cares.
#[derive(Clone, Debug)]
pub enum Account {
    /// It has a role, or container credentials.
    Annotated(Arc<Binding>),
    /// It exists and names none: its pods are left alone.
    Unannotated,
}

impl Account {
    /// What it was annotated with or mapped to, if it was.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        match self {
            Self::Annotated(binding) => Some(binding),
            Self::Unannotated => None,
        }
    }

    /// Whether its role is annotated, so that no mapping counts.
    pub fn has_own_role(&self) -> bool {
        matches!(self, Self::Annotated(binding) if !binding.role_env.is_empty() && binding.mapped_by().is_none())
    }

    /// Whether it is the very same binding, or none either.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Annotated(one), Self::Annotated(other)) => Arc::ptr_eq(one, other),
            (Self::Unannotated, Self::Unannotated) => true,
            _ => false,
        }
    }
}

/// What the pods of one annotated ServiceAccount are given. A cluster has tens of thousands of these, and most differ in
/// nothing but the role.
#[derive(Debug)]
pub struct Binding {
    /// The env entry of the role; empty if it has none.
    role_env: Box<[u8]>,
    /// Shared by all accounts that are annotated with nothing else.
    pub terms: Arc<Terms>,
}

/// What the annotations of a ServiceAccount say beside the role. What equals the default is shared with it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The audience of the token.
    pub audience: Arc<str>,
    /// The lifetime asked for the token.
    pub token_expiration: TokenExpiration,
    /// The token's volume, under its default name and with the lifetime above.
    pub volume: Arc<[u8]>,
    /// The env entries of the region, if one is to be injected.
    pub region: Option<Arc<RegionEnv>>,
    /// Whether regional STS endpoints are asked for.
    pub sts_regional_endpoints: bool,
    /// `skip-containers` as annotated.
    pub skip_containers: Option<Box<str>>,
    /// `include-containers` as annotated.
    pub include_containers: Option<Box<str>>,
    /// What is wrong with the annotations, for those who create pods with them.
    pub warnings: Box<[Warning]>,
    /// The key of the role mapping that the role comes from, unless it is annotated.
    pub mapped_by: Option<Arc<str>>,
    /// Of container credentials: what the account is given without them.
    without: Option<Arc<Terms>>,
}

/// What a role mapping says in place of annotations.
#[derive(Debug)]
pub struct Mapped {
    /// Its key: `payments/api`, `test-*/api`.
    pub key: Arc<str>,
    /// The role; empty for none.
    pub role: Box<str>,
    /// The audience of the token.
    pub audience: Option<Box<str>>,
    /// The lifetime asked for the token.
    pub token_expiration: Option<TokenExpiration>,
    /// Whether regional STS endpoints are asked for.
    pub sts_regional_endpoints: Option<bool>,
}

impl Binding {
    const ROLE_ENV_HEAD: &[u8] = br#"{"name":"AWS_ROLE_ARN","value":"#;

    /// Whether its pods are given anything.
    pub fn gives_identity(&self) -> bool {
        !self.role_env.is_empty() || self.has_container_credentials()
    }

    /// Whether its pods are given a role.
    pub fn has_role(&self) -> bool {
        !self.role_env.is_empty() && !self.has_container_credentials()
    }

    /// Whether its pods are given container credentials, which go before any role.
    pub fn has_container_credentials(&self) -> bool {
        self.terms.without.is_some()
    }

    /// The env entry `AWS_ROLE_ARN`.
    pub fn role_env(&self) -> &[u8] {
        &self.role_env
    }

    /// Whether `value` is this role's ARN, as far as it needs no escapes: no real ARN does.
    pub fn is_role_arn(&self, value: &str) -> bool {
        let json = self.role_arn_json();
        &json[1..json.len() - 1] == value.as_bytes()
    }

    /// Whether the role has the form of an ARN. It is injected all the same.
    pub fn is_well_formed(&self) -> bool {
        !self.terms.warnings.iter().any(|warning| warning.kind() == WarningKind::RoleArn)
    }

    /// The key of the role mapping that the role comes from, unless it is annotated.
    pub fn mapped_by(&self) -> Option<&str> {
        self.terms.mapped_by.as_deref()
    }

    /// The role's ARN as a JSON string, quotes included; of none, `null`.
    pub fn role_arn_json(&self) -> &[u8] {
        if self.role_env.is_empty() {
            return b"null";
        }
        &self.role_env[Self::ROLE_ENV_HEAD.len()..self.role_env.len() - 1]
    }
}

/// The env entries of a region. They are one unit: both are injected or neither.
#[derive(Debug)]
pub struct RegionEnv {
    /// The entry `AWS_REGION`.
    pub region: Box<[u8]>,
    /// The entry `AWS_DEFAULT_REGION`.
    pub default_region: Box<[u8]>,
}

impl RegionEnv {
    /// Renders the entries of `region`; an empty one has none.
    pub fn new(region: &Region) -> Option<Self> {
        let region = region.as_ref();
        let entry = |name| render::to_vec(|out| render::env(out, name, region)).into_boxed_slice();
        (!region.is_empty())
            .then(|| Self { region: entry(render::REGION), default_region: entry(render::DEFAULT_REGION) })
    }
}
