//! Lists of globs → whether a role is permitted. The policy `rolePolicy` of the chart says the same in CEL;
//! `tests/fixtures/role-policy.json` holds cases for both.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::accounts::assignments::glob::Glob;

/// The longest list that is read.
const MAX_BYTES: usize = 16 << 10;

/// The roles that a namespace may use: comma-separated globs of ARNs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermittedRoles(Box<[Glob]>);

impl PermittedRoles {
    /// Reads a list. The end of one that is too long permits nothing.
    pub fn parse(text: &str) -> Self {
        let text = match text.as_bytes().get(..MAX_BYTES) {
            // Half a glob could match more than the whole.
            Some(start) if text.len() > MAX_BYTES => {
                start.iter().rposition(|&byte| byte == b',').map_or("", |end| &text[..end])
            }
            _ => text,
        };
        let globs = text.split(',').map(str::trim).filter(|glob| !glob.is_empty());
        Self(globs.map(Glob::new).collect())
    }

    /// Whether a role is among them.
    pub fn permits(&self, arn: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(arn))
    }
}

impl fmt::Display for PermittedRoles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("no role");
        }
        for (index, glob) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", glob.as_str())?;
        }
        Ok(())
    }
}

/// What a namespace may use whose Namespace does not say it: globs, in which `{namespace}` stands for its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermittedByDefault(Box<str>);

/// A default that is not one.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "want allow, deny, or comma-separated globs of role ARNs, such as arn:aws:iam::111122223333:role/{{namespace}}/*"
)]
pub struct InvalidDefault;

impl PermittedByDefault {
    /// What this namespace may use.
    pub fn of(&self, namespace: &str) -> PermittedRoles {
        PermittedRoles::parse(&self.0.replace("{namespace}", namespace))
    }
}

impl FromStr for PermittedByDefault {
    type Err = InvalidDefault;

    fn from_str(text: &str) -> Result<Self, InvalidDefault> {
        let can_match = |glob: &str| glob.starts_with("arn:") || glob.starts_with('*');
        match text {
            "allow" => Ok(Self("*".into())),
            "deny" => Ok(Self("".into())),
            _ if text.len() <= MAX_BYTES && text.split(',').map(str::trim).all(can_match) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidDefault),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn roles_are_permitted_as_by_the_policy_of_the_chart() {
        let cases = include_str!("../../../../tests/fixtures/role-policy.json");
        let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
        assert!(cases.len() > 10);
        for case in cases {
            let text = |field: &str| case[field].as_str();
            let permitted = match text("annotation") {
                Some(annotation) => PermittedRoles::parse(annotation),
                None => text("default").unwrap().parse::<PermittedByDefault>().unwrap().of("payments"),
            };
            assert_eq!(
                permitted.permits(text("role").unwrap()),
                case["permitted"].as_bool().unwrap(),
                "{case}"
            );
        }
    }

    #[test]
    fn a_default_is_a_word_or_globs_of_arns() {
        for bad in ["", "alow", "payments-*", "arn:aws:iam::1:role/a,", ",", "arn:x,payments"] {
            assert_eq!(bad.parse::<PermittedByDefault>(), Err(InvalidDefault), "{bad:?}");
        }
        assert_eq!("deny".parse::<PermittedByDefault>().unwrap().of("a").to_string(), "no role");
        let globs: PermittedByDefault =
            "arn:aws:iam::1:role/{namespace}/*, *:role/{namespace}".parse().unwrap();
        assert_eq!(globs.of("a").to_string(), "arn:aws:iam::1:role/a/*, *:role/a");
    }

    #[test]
    fn the_end_of_a_list_that_is_too_long_permits_nothing() {
        let long = format!("arn:a,{}arn:*-only", "arn:b,".repeat(MAX_BYTES / 6 - 1));
        let cut_behind_the_star = &long[..MAX_BYTES];
        assert!(
            cut_behind_the_star.ends_with("arn:") || cut_behind_the_star.ends_with('*'),
            "{}",
            long.len()
        );
        let permitted = PermittedRoles::parse(&long);
        assert!(permitted.permits("arn:a") && permitted.permits("arn:b") && !permitted.permits("arn:c"));
    }
}
