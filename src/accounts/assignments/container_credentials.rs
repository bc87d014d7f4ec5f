//! The accounts whose pods are given container credentials: the file of the AWS webhook's.
//!
//! ```json
//! {"identities": [{"namespace": "payments", "serviceAccount": "api"}]}
//! ```

use std::collections::HashSet;

use serde_json::{Map, Value};
use thiserror::Error;

/// Accounts, by namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Identities(HashSet<(Box<str>, Box<str>)>);

/// Why a file can't be used.
#[derive(Debug, Error)]
pub enum BadIdentities {
    /// It is not JSON.
    #[error("not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("want {{\"identities\": [{{\"namespace\": …, \"serviceAccount\": …}}]}}: {0}")]
    Shape(&'static str),
}

impl Identities {
    /// Reads a file's text. An empty one holds none. Fields are found in any case, as Go finds them.
    pub fn parse(text: &str) -> Result<Self, BadIdentities> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let value: Value = serde_json::from_str(text)?;
        let fields = value.as_object().ok_or(BadIdentities::Shape("the file is no object"))?;
        let list = match field(fields, "identities") {
            None | Some(Value::Null) => return Ok(Self::default()),
            Some(list) => list.as_array().ok_or(BadIdentities::Shape("identities is no array"))?,
        };
        let identity = |value: &Value| {
            let text = |name| Some(field(value.as_object()?, name)?.as_str()?.into());
            text("namespace")
                .zip(text("serviceAccount"))
                .ok_or(BadIdentities::Shape("an identity lacks one of them"))
        };
        list.iter().map(identity).collect::<Result<_, _>>().map(Self)
    }

    /// Whether an account is one of them.
    pub fn contains(&self, namespace: &str, name: &str) -> bool {
        !self.0.is_empty() && self.0.contains(&(namespace.into(), name.into()))
    }

    /// Those that are in one of both only.
    pub fn difference<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.symmetric_difference(&other.0).map(|(namespace, name)| (&**namespace, &**name))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
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
        let identities = Identities::parse(two).unwrap();
        assert!(identities.contains("foo", "ns-foo-sa") && identities.contains("bar", "ns-bar-sa"));
        assert!(
            !identities.contains("foo", "ns-bar-sa") && !identities.contains("non-existent", "non-existent")
        );
        assert_eq!(identities.len(), 2);
        for none in ["", "\n", "{}", r#"{"identities": null}"#, r#"{"identities": []}"#] {
            assert!(Identities::parse(none).unwrap().is_empty(), "{none:?}");
        }
        for bad in ["bad json", "[]", r#"{"identities": {}}"#, r#"{"identities": [{"namespace": "a"}]}"#] {
            assert!(Identities::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_changes_is_what_is_in_one_of_both() {
        let of = |name: &str| {
            let text = format!(
                r#"{{"identities": [{{"namespace": "a", "serviceAccount": "both"}},
                {{"namespace": "a", "serviceAccount": "{name}"}}]}}"#
            );
            Identities::parse(&text).unwrap()
        };
        let (old, new) = (of("old"), of("new"));
        let mut names: Vec<_> = old.difference(&new).map(|(_, name)| name).collect();
        names.sort_unstable();
        assert_eq!(names, ["new", "old"]);
    }
}
