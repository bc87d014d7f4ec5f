//! What accounts are found by.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
};

/// `namespace/name` in one allocation. A namespace holds no `/`, so the first one parts them.
#[derive(Clone, Debug)]
pub(super) struct Key(Box<str>);

impl Key {
    pub(super) fn new(namespace: &str, name: &str) -> Self {
        Self([namespace, "/", name].concat().into())
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
