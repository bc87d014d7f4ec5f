//! Keys of the role mapping: one account, or a glob.

use std::cmp::Reverse;

use crate::accounts::assignments::glob::Glob;

/// A key: the accounts that it names.
#[derive(Debug)]
pub(super) struct Pattern {
    namespace: Glob,
    name: Glob,
}

impl Pattern {
    pub(super) fn parse(key: &str) -> Option<Self> {
        let is_part = |part: &str| {
            let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.*".contains(&c);
            !part.is_empty() && part.bytes().all(is_plain)
        };
        let (namespace, name) =
            key.split_once('/').filter(|(namespace, name)| is_part(namespace) && is_part(name))?;
        Some(Self { namespace: Glob::new(namespace), name: Glob::new(name) })
    }

    pub(super) fn is_exact(&self) -> bool {
        self.namespace.is_exact() && self.name.is_exact()
    }

    pub(super) fn matches(&self, namespace: &str, name: &str) -> bool {
        self.namespace.matches(namespace) && self.name.matches(name)
    }

    /// More specific patterns come first.
    pub(super) fn order(&self) -> impl Ord + use<> {
        (order(&self.namespace), order(&self.name))
    }
}

fn order(part: &Glob) -> impl Ord + use<> {
    let text = part.as_str();
    let stars = text.matches('*').count();
    (stars > 0, Reverse(text.len() - stars))
}
