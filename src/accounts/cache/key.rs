//! The keys of the cache.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
};

use compact_str::CompactString;

/// `namespace/name`. A namespace holds no `/`, so the first one parts them.
///
/// Up to 24 bytes are kept in place: among many accounts, each address that a look-up follows is one that no core's cache
/// has.
#[derive(Clone, Debug)]
pub(super) struct Key(CompactString);

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        let mut key = CompactString::with_capacity(namespace.len() + 1 + name.len());
        [namespace, "/", name].into_iter().for_each(|part| key.push_str(part));
        Self(key)
    }
}

/// A namespace and a name, however they are kept: lets a look-up borrow both from the request.
pub(super) trait AccountName {
    fn parts(&self) -> (&str, &str);
}

impl AccountName for Key {
    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or_default()
    }
}

impl AccountName for (&str, &str) {
    fn parts(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn AccountName + 'a> for Key {
    fn borrow(&self) -> &(dyn AccountName + 'a) {
        self
    }
}

impl Hash for dyn AccountName + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn AccountName + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn AccountName + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}
