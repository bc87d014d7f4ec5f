//! The Namespaces that there are, and the roles that each permits.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use super::permitted_roles::PermittedRoles;

/// Every Namespace, with what its annotation permits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(HashMap<Arc<str>, Option<Arc<PermittedRoles>>>);

impl Namespaces {
    /// Takes a Namespace with the value of its annotation; returns whether that is news.
    pub fn insert(&mut self, name: &str, annotation: Option<&str>) -> bool {
        let permitted = annotation.map(|text| Arc::new(PermittedRoles::parse(text)));
        if self.0.get(name) == Some(&permitted) {
            return false;
        }
        self.0.insert(name.into(), permitted);
        true
    }

    /// Takes notice that a Namespace is gone; returns whether it was known.
    pub fn remove(&mut self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// What the annotation of a Namespace permits, if it has one; `None` if it is not known.
    pub fn get(&self, name: &str) -> Option<Option<&PermittedRoles>> {
        self.0.get(name).map(Option::as_deref)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The Namespaces that are not as in `other`.
    pub fn difference(&self, other: &Self) -> HashSet<Arc<str>> {
        let changed = |(one, of): (&Self, &Self)| {
            let changed = one.0.iter().filter(|(name, permitted)| of.0.get(*name) != Some(permitted));
            changed.map(|(name, _)| Arc::clone(name)).collect::<Vec<_>>()
        };
        [(self, other), (other, self)].into_iter().flat_map(changed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_is_news() {
        let mut namespaces = Namespaces::default();
        assert!(namespaces.insert("a", None));
        assert!(!namespaces.insert("a", None));
        assert!(namespaces.insert("b", Some("arn:x")));
        let before = namespaces.clone();
        assert!(namespaces.insert("b", Some("arn:y")));
        assert!(!namespaces.insert("b", Some(" arn:y ")));
        assert!(namespaces.insert("c", Some("")) && namespaces.remove("a") && !namespaces.remove("a"));
        let changed = namespaces.difference(&before);
        assert_eq!(changed, ["a", "b", "c"].map(Arc::from).into());
        assert_eq!(namespaces.get("a"), None);
    }
}
