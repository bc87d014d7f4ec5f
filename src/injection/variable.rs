//! The environment variables that this program injects or looks for.

macro_rules! variables {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A variable that this program injects or looks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Variable {
            $($(#[$doc])* $variant,)*
        }

        impl Variable {
            /// Every variable, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The variable of this name, if it is one of them.
            pub fn named(name: &str) -> Option<Self> {
                // Nearly every name of a real container fails this test, and costs nothing more.
                if !name.starts_with("AWS_") {
                    return None;
                }
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

// Those that are injected come first, in the order in which they are injected.
variables! {
    /// The role to assume.
    RoleArn = "AWS_ROLE_ARN",
    /// Where SDKs ask for container credentials.
    ContainerFullUri = "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    /// Where the web identity token is.
    TokenFile = "AWS_WEB_IDENTITY_TOKEN_FILE",
    /// The token to ask with.
    ContainerTokenFile = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    /// Read by most SDKs.
    Region = "AWS_REGION",
    /// Read by the CLI and by older SDKs.
    DefaultRegion = "AWS_DEFAULT_REGION",
    /// The session's name, which CloudTrail shows.
    SessionName = "AWS_ROLE_SESSION_NAME",
    /// For SDKs that would call the global endpoint.
    StsRegionalEndpoints = "AWS_STS_REGIONAL_ENDPOINTS",
    /// Static credentials, which SDKs prefer to those of a role.
    AccessKeyId = "AWS_ACCESS_KEY_ID",
    /// Static credentials, which SDKs prefer to those of a role.
    SecretAccessKey = "AWS_SECRET_ACCESS_KEY",
    /// A profile, which SDKs prefer to a role.
    Profile = "AWS_PROFILE",
    /// The same, for boto3 and the CLI.
    DefaultProfile = "AWS_DEFAULT_PROFILE",
}

impl Variable {
    /// The variables by which SDKs find other credentials before those that are injected.
    pub const OF_OTHER_CREDENTIALS: [Self; 4] =
        [Self::AccessKeyId, Self::SecretAccessKey, Self::Profile, Self::DefaultProfile];

    /// The variables that this program injects, in order.
    pub const INJECTED: &[Self] = Self::ALL.split_at(Self::ALL.len() - Self::OF_OTHER_CREDENTIALS.len()).0;

    /// Whether this program injects it.
    pub fn is_injected(self) -> bool {
        !Self::OF_OTHER_CREDENTIALS.contains(&self)
    }
}

/// A set of variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variables(u16);

// Each variable has a bit of its own.
const _: () = assert!(Variable::ALL.len() <= u16::BITS as usize);

impl Variables {
    /// Adds a variable.
    pub fn insert(&mut self, variable: Variable) {
        self.0 |= 1 << variable as u16;
    }

    /// Whether a variable is in the set.
    pub fn contains(self, variable: Variable) -> bool {
        self.0 & 1 << variable as u16 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_its_own_name_number_and_bit() {
        for (index, &variable) in Variable::ALL.iter().enumerate() {
            assert_eq!((variable as usize, Variable::named(variable.name())), (index, Some(variable)));
            let mut one = Variables::default();
            one.insert(variable);
            let found: Vec<_> = Variable::ALL.iter().filter(|&&other| one.contains(other)).collect();
            assert_eq!(found, [&variable]);
        }
        assert_eq!(Variable::named("AWS_OTHER"), None);
        assert!(Variable::INJECTED.iter().all(|variable| variable.is_injected()));
    }
}
