//! What the pods of a ServiceAccount are given.

use std::sync::Arc;

use super::{
    container_names::ContainerNames,
    render,
    settings::{Region, SessionName, TokenExpiration},
    variable::Variable,
    warning::Warning,
};

/// A ServiceAccount as far as this program cares.
#[derive(Clone, Debug)]
pub enum Account {
    /// It exists, and its pods are left alone.
    Nothing,
    /// As above, although it has an annotation that looks like a mistake.
    Mistaken(Arc<Mistakes>),
    /// Its pods are given credentials.
    Granted(Arc<Grant>),
}

impl Account {
    /// What its pods are given, if anything.
    pub fn grant(&self) -> Option<&Arc<Grant>> {
        match self {
            Self::Granted(grant) => Some(grant),
            Self::Nothing | Self::Mistaken(_) => None,
        }
    }

    /// What is wrong with its annotations.
    pub fn warnings(&self) -> &[Warning] {
        match self {
            Self::Granted(grant) => &grant.settings.warnings,
            Self::Mistaken(mistakes) => &mistakes.warnings,
            Self::Nothing => &[],
        }
    }

    /// Whether its role is annotated, so that no mapping counts.
    pub fn has_annotated_role(&self) -> bool {
        match self.without_container_credentials() {
            Self::Granted(grant) => grant.settings.mapped_by.is_none(),
            Self::Nothing | Self::Mistaken(_) => false,
        }
    }

    /// What its pods would be given without container credentials.
    pub fn without_container_credentials(&self) -> &Self {
        match self {
            Self::Granted(grant) => match &grant.credentials {
                Credentials::Container { in_place_of } => in_place_of,
                Credentials::Role(_) => self,
            },
            Self::Nothing | Self::Mistaken(_) => self,
        }
    }

    /// Whether both are the very same grant, or neither is given anything for the same reason.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Granted(one), Self::Granted(other)) => Arc::ptr_eq(one, other),
            (Self::Mistaken(one), Self::Mistaken(other)) => one == other,
            (Self::Nothing, Self::Nothing) => true,
            _ => false,
        }
    }
}

/// What is wrong with an account that is given nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// For those who create its pods.
    pub warnings: Box<[Warning]>,
}

/// What the pods of one ServiceAccount are given. A cluster has tens of thousands of these, and most differ in nothing but
/// the role.
#[derive(Debug)]
pub struct Grant {
    /// Which credentials.
    pub credentials: Credentials,
    /// Everything else; shared by all accounts that have the defaults.
    pub settings: Arc<AccountSettings>,
}

/// The credentials of a grant.
#[derive(Debug)]
pub enum Credentials {
    /// Those of a role, which SDKs get from STS for a web identity token.
    Role(Role),
    /// Those of an agent on the node, which takes precedence over every role.
    Container {
        /// What the pods would be given otherwise.
        in_place_of: Account,
    },
}

impl Grant {
    /// The role that pods are given.
    pub fn role(&self) -> Option<&Role> {
        match &self.credentials {
            Credentials::Role(role) => Some(role),
            Credentials::Container { .. } => None,
        }
    }

    /// The role that the account has, even where container credentials take precedence over it.
    pub fn assigned_role(&self) -> Option<&Role> {
        match &self.credentials {
            Credentials::Role(role) => Some(role),
            Credentials::Container { in_place_of } => in_place_of.grant()?.assigned_role(),
        }
    }
}

/// A role.
#[derive(Debug)]
pub struct Role {
    arn: Box<str>,
    env: Box<[u8]>,
}

impl Role {
    /// A role with its env entry rendered.
    pub fn new(arn: &str) -> Self {
        let env = render::to_vec(|out| render::env(out, Variable::RoleArn.name(), arn));
        Self { arn: arn.into(), env: env.into() }
    }

    /// Its ARN, or the text that is injected in its place.
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The env entry `AWS_ROLE_ARN`.
    pub fn env(&self) -> &[u8] {
        &self.env
    }
}

/// What an account's annotations or its mapping say beside the role. Values that equal the default are shared with it.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// The audience of the token.
    pub audience: Arc<str>,
    /// The lifetime requested for the token.
    pub token_expiration: TokenExpiration,
    /// The token's volume, under its default name and with the lifetime above.
    pub volume: Arc<[u8]>,
    /// The env entries of the region, if one is to be injected.
    pub region: Option<Arc<RegionEnv>>,
    /// The env entries of variables that depend on nothing but the account, such as `AWS_STS_REGIONAL_ENDPOINTS`.
    pub variables: Arc<[(Variable, Box<[u8]>)]>,
    /// Which `AWS_ROLE_SESSION_NAME` is injected.
    pub session_name: SessionName,
    /// The containers to skip.
    pub skip_containers: Option<ContainerNames>,
    /// The only containers to change.
    pub include_containers: Option<ContainerNames>,
    /// What is wrong with the annotations, for those who create pods with them.
    pub warnings: Box<[Warning]>,
    /// The key of the role mapping that the role comes from, unless it is annotated.
    pub mapped_by: Option<Arc<str>>,
}

impl AccountSettings {
    /// Whether a variable is among [`variables`](Self::variables).
    pub fn gives(&self, variable: Variable) -> bool {
        self.variables.iter().any(|(given, _)| *given == variable)
    }
}

/// The env entries of a region. They are one unit: both are injected or neither.
#[derive(Debug)]
pub struct RegionEnv {
    /// The region.
    pub name: Region,
    /// Whether it is the built-in default. It is not injected into containers with `envFrom`, which may set the region.
    pub is_built_in: bool,
    /// The entry `AWS_REGION`.
    pub region: Box<[u8]>,
    /// The entry `AWS_DEFAULT_REGION`.
    pub default_region: Box<[u8]>,
}

impl RegionEnv {
    /// Renders the entries of `region`; an empty one has none.
    pub fn new(region: &Region) -> Option<Self> {
        let entry = |variable: Variable| {
            render::to_vec(|out| render::env(out, variable.name(), region.as_ref())).into_boxed_slice()
        };
        (!region.as_ref().is_empty()).then(|| Self {
            name: region.clone(),
            is_built_in: false,
            region: entry(Variable::Region),
            default_region: entry(Variable::DefaultRegion),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roles_env_entry_is_escaped() {
        let role = Role::new("a\"b");
        assert_eq!((role.arn(), role.env()), ("a\"b", &br#"{"name":"AWS_ROLE_ARN","value":"a\"b"}"#[..]));
    }
}
