//! The annotations: where each is read, and which variables it gives.

use super::variable::Variable;

macro_rules! annotations {
    ($($(#[$doc:meta])* $variant:ident = $name:literal on $place:ident gives [$($variable:ident),*],)*) => {
        /// An annotation that is read.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Annotation {
            $($(#[$doc])* $variant,)*
        }

        impl Annotation {
            /// Every annotation, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name, without the prefix.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The annotation of this name, if it is one of them.
            pub fn named(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Where it is read.
            pub const fn place(self) -> Place {
                match self {
                    $(Self::$variant => Place::$place,)*
                }
            }

            /// The variables that containers are given because of it, or with its value.
            pub const fn variables(self) -> &'static [Variable] {
                match self {
                    $(Self::$variant => &[$(Variable::$variable),*],)*
                }
            }
        }
    };
}

/// Where an annotation is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On ServiceAccounts.
    Accounts,
    /// On ServiceAccounts and on pods, where the pod's takes precedence.
    Pods,
}

// The chart's annotationPolicy has the same names (`_near-miss.tpl`).
annotations! {
    /// The role.
    RoleArn = "role-arn" on Accounts gives [RoleArn, TokenFile],
    /// The audience of the token.
    Audience = "audience" on Accounts gives [],
    /// The lifetime of the token.
    TokenExpiration = "token-expiration" on Pods gives [],
    /// Whether SDKs call regional STS endpoints.
    StsRegionalEndpoints = "sts-regional-endpoints" on Accounts gives [StsRegionalEndpoints],
    /// The region.
    Region = "region" on Pods gives [Region, DefaultRegion],
    /// The containers to skip.
    SkipContainers = "skip-containers" on Pods gives [],
    /// The only containers to change.
    IncludeContainers = "include-containers" on Pods gives [],
    /// How sessions are named.
    SessionName = "session-name" on Pods gives [SessionName],
}

/// The values of annotations, as text.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values<'a>([Option<&'a str>; Annotation::ALL.len()]);

impl<'a> Values<'a> {
    /// The value of an annotation, if it is there.
    pub fn get(&self, annotation: Annotation) -> Option<&'a str> {
        self.0[annotation as usize]
    }

    /// Takes the value of an annotation.
    pub fn set(&mut self, annotation: Annotation, value: Option<&'a str>) {
        self.0[annotation as usize] = value;
    }

    /// Whether no other annotation than this one is there.
    pub fn has_only(&self, annotation: Annotation) -> bool {
        Annotation::ALL.iter().all(|&other| other == annotation || self.get(other).is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_annotation_has_its_own_name_and_number() {
        for (index, &annotation) in Annotation::ALL.iter().enumerate() {
            assert_eq!(annotation as usize, index);
            assert_eq!(Annotation::named(annotation.name()), Some(annotation));
            assert!(annotation.variables().iter().all(|variable| variable.is_injected()));
        }
        assert_eq!(Annotation::named("role"), None);
    }
}
