//! The ServiceAccounts that a policy trusts.

use std::{fmt, str::FromStr};

use thiserror::Error;

use crate::injection::settings::{is_dns_label, is_dns_subdomain};

/// The account that every namespace has from the start.
const DEFAULT_ACCOUNT: &str = "default";

/// Not a ServiceAccount, or a pattern of some.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error(
    "want NAMESPACE/NAME of a ServiceAccount, such as payments/api, with * and ? as wildcards, such as 'payments/*'"
)]
pub struct InvalidSubject;

/// One ServiceAccount, or all that match a pattern. Names hold neither wildcards nor `:`, so the pattern of the namespace
/// never matches part of the account, and vice versa.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    namespace: Box<str>,
    account: Box<str>,
}

impl Subject {
    /// The claim `sub` of its tokens.
    pub(super) fn claim(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.account)
    }

    pub(super) fn has_wildcard(&self) -> bool {
        self.to_string().contains(['*', '?'])
    }

    /// Whether pods of every namespace are trusted without changes to them, also by `*/default`: pods that name no account
    /// have this one.
    pub fn trusts_every_namespace(&self) -> bool {
        matches_anything(&self.namespace) && matches(self.account.as_bytes(), DEFAULT_ACCOUNT.as_bytes())
    }
}

/// Whether a pattern matches any name: it has only wildcards, and one of them matches any length.
fn matches_anything(pattern: &str) -> bool {
    pattern.contains('*') && pattern.bytes().all(|c| matches!(c, b'*' | b'?'))
}

/// As IAM's `StringLike` has it: `*` is any number of characters, `?` is one.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), tail) => {
            matches(rest, text) || tail.is_some_and(|(_, tail)| matches(pattern, tail))
        }
        (Some((b'?', rest)), Some((_, tail))) => matches(rest, tail),
        (Some((c, rest)), Some((d, tail))) => c == d && matches(rest, tail),
        _ => false,
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        let (namespace, account) = text.split_once('/').ok_or(InvalidSubject)?;
        let example = |pattern: &str| pattern.replace(['*', '?'], "x");
        // Namespaces are labels, accounts subdomains (`ValidateServiceAccountName`).
        let names = is_dns_label(&example(namespace)) && is_dns_subdomain(&example(account));
        let valid = names && !text.contains("**");
        valid.then(|| Self { namespace: namespace.into(), account: account.into() }).ok_or(InvalidSubject)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.account)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accounts_and_patterns_are_accepted() {
        for text in ["payments/api", "payments/*", "team-*/api", "*/*", "a/b.c", "p?yments/api-??"] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject.to_string(), text);
            assert_eq!(subject.has_wildcard(), text.contains(['*', '?']), "{text}");
        }
        let long = format!("{}/api", "a".repeat(64));
        for bad in [
            "",
            "api",
            "/api",
            "payments/",
            "a.b/api",
            "Payments/api",
            "a/b/c",
            "a:b/c",
            "a/${b}",
            "a/**",
            &long,
        ] {
            assert_eq!(bad.parse::<Subject>(), Err(InvalidSubject), "{bad:?}");
        }
    }

    #[test]
    fn patterns_that_trust_every_namespace_are_recognised() {
        for (text, every) in [
            ("*/*", true),
            ("?*/*?", true),
            ("*/default", true),
            ("*/d*t", true),
            ("*/def?ult", true),
            ("*/api", false),
            ("*/defaults", false),
            ("team-*/*", false),
            ("?/*", false),
            ("payments/*", false),
        ] {
            let subject: Subject = text.parse().unwrap();
            assert_eq!(subject.trusts_every_namespace(), every, "{text}");
        }
    }
}
