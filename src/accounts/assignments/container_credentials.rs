//! The accounts whose pods are given container credentials: the AWS webhook's file.
//!
//! ```json
//! {"identities": [{"namespace": "payments", "serviceAccount": "api"}]}
//! ```

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};
use thiserror::Error;

/// Accounts, by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct ContainerCredentialsList(HashMap<Box<str>, HashSet<Box<str>>>);

/// Why a file can't be used.
#[derive(Debug, Error)]
pub enum BadContainerCredentials {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("want {{\"identities\": [{{\"namespace\": …, \"serviceAccount\": …}}]}}: {0}")]
    Shape(&'static str),
}

impl ContainerCredentialsList {
    /// Reads a file's text. An empty one holds none. Fields are found in any case, as Go finds them.
    pub fn parse(text: &str) -> Result<Self, BadContainerCredentials> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_str(text)?;
        let fields = value.as_object().ok_or(BadContainerCredentials::Shape("the file is not an object"))?;
        let list = match field(fields, "identities") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(list) => {
                list.as_array().ok_or(BadContainerCredentials::Shape("identities is not an array"))?
            }
        };
        let mut accounts = Self::default();
        for entry in list {
            let text = |name| field(entry.as_object()?, name)?.as_str();
            let (namespace, name) = text("namespace")
                .zip(text("serviceAccount"))
                .ok_or(BadContainerCredentials::Shape("an entry lacks one of them"))?;
            accounts.0.entry(namespace.into()).or_default().insert(name.into());
        }
        Ok(accounts)
    }

    /// Whether an account is listed.
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        self.0.get(namespace).is_some_and(|names| names.contains(name))
    }

    /// Every account that is listed, by namespace and name.
    pub fn names(&self) -> Vec<(Box<str>, Box<str>)> {
        let namespaces = self.0.iter();
        let names = namespaces.flat_map(|(namespace, names)| names.iter().map(move |name| (namespace, name)));
        names.map(|(namespace, name)| (namespace.clone(), name.clone())).collect()
    }

    /// The accounts that only one of both lists.
    pub fn difference(&self, other: &Self) -> Vec<(Box<str>, Box<str>)> {
        let only_in = |one: &Self, other: &Self| {
            let names = one.names().into_iter();
            names.filter(|(namespace, name)| !other.contains(namespace, name)).collect::<Vec<_>>()
        };
        [only_in(self, other), only_in(other, self)].concat()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.values().map(HashSet::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_aws_webhook_is_read() {
        let two = r#"{"identities": [{"namespace": "foo", "serviceAccount": "ns-foo-sa"},
            {"Namespace": "bar", "serviceaccount": "ns-bar-sa", "other": 1}]}"#;
        let identities = ContainerCredentialsList::parse(two).unwrap();
        assert!(identities.contains("foo", "ns-foo-sa") && identities.contains("bar", "ns-bar-sa"));
        assert!(
            !identities.contains("foo", "ns-bar-sa") && !identities.contains("non-existent", "non-existent")
        );
        assert_eq!(identities.len(), 2);
        for none in ["", "\n", "{}", r#"{"identities": null}"#, r#"{"identities": []}"#] {
            assert!(ContainerCredentialsList::parse(none).unwrap().is_empty(), "{none:?}");
        }
        for bad in ["bad json", "[]", r#"{"identities": {}}"#, r#"{"identities": [{"namespace": "a"}]}"#] {
            assert!(ContainerCredentialsList::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_accounts_in_one_of_both_lists_change() {
        let of = |name: &str| {
            let text = format!(
                r#"{{"identities": [{{"namespace": "a", "serviceAccount": "both"}},
                {{"namespace": "a", "serviceAccount": "{name}"}}]}}"#
            );
            ContainerCredentialsList::parse(&text).unwrap()
        };
        let (old, new) = (of("old"), of("new"));
        let mut names: Vec<_> = old.difference(&new).into_iter().map(|(_, name)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["new".into(), "old".into()]);
    }
}
