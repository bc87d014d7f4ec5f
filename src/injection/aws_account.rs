//! An AWS account and its partition, as ARNs name them (IAM user guide, "IAM identifiers").

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The number of an AWS account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountId(Box<str>);

/// Not the number of an account.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an AWS account is a number of 12 digits, such as 111122223333")]
pub struct InvalidAccountId;

impl AccountId {
    /// Whether that is one.
    pub fn is_valid(text: &str) -> bool {
        text.len() == 12 && text.bytes().all(|c| c.is_ascii_digit())
    }
}

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(text: &str) -> Result<Self, InvalidAccountId> {
        Self::is_valid(text).then(|| Self(text.into())).ok_or(InvalidAccountId)
    }
}

/// A partition of AWS: `aws`, `aws-cn`, `aws-us-gov` and others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition(Box<str>);

/// Not a partition.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an AWS partition is a name such as aws, aws-cn or aws-us-gov")]
pub struct InvalidPartition;

impl Partition {
    /// Whether that may be one: `aws`, with further words behind dashes.
    pub fn is_valid(text: &str) -> bool {
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase());
        text.split('-').next() == Some("aws") && text.split('-').all(is_word)
    }
}

impl FromStr for Partition {
    type Err = InvalidPartition;

    fn from_str(text: &str) -> Result<Self, InvalidPartition> {
        Self::is_valid(text).then(|| Self(text.into())).ok_or(InvalidPartition)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_twelve_digits() {
        for (text, valid) in [
            ("111122223333", true),
            ("11112222333", false),
            ("1111222233334", false),
            ("1111-2222-3333", false),
            ("", false),
            ("１１１１２２２２３３３３", false),
        ] {
            assert_eq!(text.parse::<AccountId>().is_ok(), valid, "{text:?}");
        }
    }

    #[test]
    fn partitions_begin_with_aws() {
        for (text, valid) in [
            ("aws", true),
            ("aws-us-gov", true),
            ("aws-iso-b", true),
            ("azure", false),
            ("awsx", false),
            ("aws-", false),
            ("aws-x--", false),
            ("AWS", false),
            ("aws:x", false),
            ("", false),
        ] {
            assert_eq!(text.parse::<Partition>().is_ok(), valid, "{text:?}");
        }
    }
}
