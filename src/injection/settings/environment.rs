//! Settings of the environment: the session's name, and variables of the operator's own.

use std::{fmt, str::FromStr};

use super::InvalidSetting;
use crate::injection::{render, variable::Variable};

/// The most variables that can be injected beside our own.
pub const MAX_INJECTED_VARIABLES: usize = u64::BITS as usize;

/// The longest value of such a variable.
const MAX_VALUE_CHARS: usize = 4096;

/// Which `AWS_ROLE_SESSION_NAME` pods are given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionName {
    /// The pod's name.
    #[default]
    Pod,
    /// None: SDKs choose one.
    None,
}

impl FromStr for SessionName {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "pod" => Ok(Self::Pod),
            "none" => Ok(Self::None),
            _ => Err(InvalidSetting::SessionName),
        }
    }
}

impl fmt::Display for SessionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pod => "pod",
            Self::None => "none",
        })
    }
}

/// A variable of the operator's own, `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InjectedVariable {
    name: Box<str>,
    entry: Box<[u8]>,
}

impl InjectedVariable {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its env entry.
    pub fn entry(&self) -> &[u8] {
        &self.entry
    }
}

impl FromStr for InjectedVariable {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or(InvalidSetting::InjectedVariable)?;
        let is_inner = |c: u8| c.is_ascii_alphanumeric() || b"_-.".contains(&c);
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(is_inner)
            && !name.starts_with(|c: char| c.is_ascii_digit());
        if !is_name || value.chars().count() > MAX_VALUE_CHARS || value.contains('\0') {
            return Err(InvalidSetting::InjectedVariable);
        }
        if Variable::named(name).is_some() {
            return Err(InvalidSetting::ReservedVariable);
        }
        let entry = render::to_vec(|out| render::env(out, name, value)).into();
        Ok(Self { name: name.into(), entry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_name_of_their_own() {
        let variable: InjectedVariable = "NO_PROXY=a=b,c".parse().unwrap();
        assert_eq!(
            (variable.name(), variable.entry()),
            ("NO_PROXY", &br#"{"name":"NO_PROXY","value":"a=b,c"}"#[..])
        );
        assert!("EMPTY=".parse::<InjectedVariable>().is_ok());
        for bad in ["NAME", "=x", "1A=x", "A B=x", "A\n=x"] {
            assert_eq!(bad.parse::<InjectedVariable>(), Err(InvalidSetting::InjectedVariable), "{bad:?}");
        }
        for reserved in ["AWS_REGION=x", "AWS_ROLE_ARN=x", "AWS_ACCESS_KEY_ID=x"] {
            assert_eq!(
                reserved.parse::<InjectedVariable>(),
                Err(InvalidSetting::ReservedVariable),
                "{reserved}"
            );
        }
    }
}
