//! Which annotations of a ServiceAccount matter.

use super::settings::{AnnotationPrefix, Settings};

/// The longest value of an annotation that is read. Every valid value is much shorter.
pub const MAX_VALUE_BYTES: usize = 16 << 10;

/// How many keys are kept of an account that only look like a mistake.
pub const MAX_SUSPECTS: usize = 8;

/// Whether an annotation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It may decide what pods are given.
    Read,
    /// It decides nothing, and may be one of the above, misspelled.
    Suspect,
    /// It belongs to something else.
    None,
}

/// The keys that matter under given settings.
#[derive(Clone, Debug)]
pub struct AnnotationKeys {
    prefix: AnnotationPrefix,
}

/// The keys that are read, without their prefix.
const NAMES: [&str; 7] = [
    "role-arn",
    "audience",
    "token-expiration",
    "sts-regional-endpoints",
    "region",
    "skip-containers",
    "include-containers",
];

impl AnnotationKeys {
    /// The keys that matter under these settings.
    pub fn of(settings: &Settings) -> Self {
        Self { prefix: settings.annotation_prefix.clone() }
    }

    /// Whether an annotation with this key matters.
    pub fn interest(&self, key: &str) -> Interest {
        match self.prefix.strip(key) {
            Some(name) if NAMES.contains(&name) => Interest::Read,
            Some(_) => Interest::Suspect,
            None if key == "iam.amazonaws.com/role" || key.ends_with("/role-arn") => Interest::Suspect,
            None => Interest::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let keys = AnnotationKeys::of(&Settings::default());
        for (key, expected) in [
            ("eks.amazonaws.com/role-arn", Interest::Read),
            ("eks.amazonaws.com/include-containers", Interest::Read),
            ("eks.amazonaws.com/role-am", Interest::Suspect),
            ("eks.amazon.com/role-arn", Interest::Suspect),
            ("iam.amazonaws.com/role", Interest::Suspect),
            ("role-arn", Interest::None),
            ("example.com/audience", Interest::None),
            ("", Interest::None),
        ] {
            assert_eq!(keys.interest(key), expected, "{key}");
        }
    }
}
