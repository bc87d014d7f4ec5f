//! Roles mapped to ServiceAccounts by a document instead of by annotations: kOps keeps it in a ConfigMap for the AWS
//! webhook.
//!
//! ```json
//! {"payments/api": {"RoleARN": "arn:aws:iam::111122223333:role/api"}, "test-*/api": {"RoleARN": "…"}}
//! ```
//!
//! A key that names one account takes precedence over every glob. Of the globs that match, the one with the more specific
//! namespace counts, then the one with the more specific name: a part without `*` before one with, then the one with more
//! characters that are not `*`. The order of the keys decides the rest.

mod pattern;

use std::collections::HashMap;

use serde_json::{Map, Value};
use thiserror::Error;
use tracing::warn;

use self::pattern::Pattern;
use crate::injection::{
    account::Account,
    resolver::{Mapped, OwnAnnotations, Resolver},
    warning::quote,
};

/// The ConfigMap that holds the document.
pub const CONFIG_MAP: &str = "pod-identity-webhook";

/// The key of its data that holds it.
const DATA_KEY: &str = "config";

/// A document as it was read.
#[derive(Debug, Default)]
pub struct Mapping {
    /// By namespace and name, as the document has them.
    exact: HashMap<Box<str>, Entry>,
    /// The most specific first.
    globs: Vec<(Pattern, Entry)>,
    refused: Vec<Refused>,
}

/// An entry: the role and settings of the accounts that match its key.
#[derive(Debug)]
struct Entry {
    mapped: Mapped,
    /// For accounts without annotations of ours.
    account: Account,
}

/// An entry that can't be used. The others can.
#[derive(Debug, Error)]
#[error("{}: {reason}", quote(key))]
pub struct Refused {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// Why nothing of a document can be used.
#[derive(Debug, Error)]
pub enum BadMapping {
    /// The ConfigMap holds no text.
    #[error("data.{DATA_KEY} is not a string")]
    NoText,
    /// The text is not JSON.
    #[error("data.{DATA_KEY} is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("data.{DATA_KEY} is not a JSON object of namespace/name to role")]
    NoObject,
}

impl Mapping {
    /// Reads what a ConfigMap holds. One without the key maps nothing, as one that does not exist.
    pub fn of_config_map(config_map: &Value, resolver: &Resolver) -> Result<Self, BadMapping> {
        match &config_map["data"][DATA_KEY] {
            Value::Null => Ok(Self::default()),
            Value::String(text) => Self::parse(text, resolver),
            _ => Err(BadMapping::NoText),
        }
    }

    /// Reads a document. The case of field names does not matter, as in Go's `encoding/json` finds them for the AWS webhook.
    pub fn parse(text: &str, resolver: &Resolver) -> Result<Self, BadMapping> {
        let mut mapping = Self::default();
        let entries = match serde_json::from_str(text)? {
            Value::Object(entries) => entries,
            Value::Null => return Ok(mapping),
            _ => return Err(BadMapping::NoObject),
        };
        for (key, value) in entries {
            match read(&key, &value) {
                Ok((pattern, mapped)) => mapping.add(key, pattern, mapped, resolver),
                Err(reason) => mapping.refused.push(Refused { key, reason }),
            }
        }
        mapping.globs.sort_by(|(a, x), (b, y)| (a.order(), &x.mapped.key).cmp(&(b.order(), &y.mapped.key)));
        Ok(mapping)
    }

    fn add(&mut self, key: String, pattern: Pattern, mapped: Mapped, resolver: &Resolver) {
        let entry = Entry { account: resolver.resolve_mapped(&mapped, []), mapped };
        if pattern.is_exact() {
            self.exact.insert(key.into(), entry);
        } else {
            self.globs.push((pattern, entry));
        }
    }

    /// Resolves an account without an annotated role.
    pub fn resolve(
        &self,
        resolver: &Resolver,
        (namespace, name): (&str, &str),
        annotations: &OwnAnnotations,
    ) -> Account {
        match self.find(namespace, name) {
            None => resolver.resolve(annotations.iter()),
            Some(entry) if annotations.is_empty() => entry.account.clone(),
            Some(entry) => resolver.resolve_mapped(&entry.mapped, annotations.iter()),
        }
    }

    fn find(&self, namespace: &str, name: &str) -> Option<&Entry> {
        let exact = || self.exact.get(&*format!("{namespace}/{name}"));
        let glob = || self.globs.iter().find(|(pattern, _)| pattern.matches(namespace, name));
        exact().or_else(|| glob().map(|(_, entry)| entry))
    }

    /// How many entries are in use.
    pub fn len(&self) -> usize {
        self.exact.len() + self.globs.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Logs the entries that can't be used.
    pub fn log_refused(&self) {
        for refused in &self.refused {
            warn!(%refused, "malformed role mapping; the others count");
        }
    }

    /// The entries that can't be used.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }
}

fn read(key: &str, value: &Value) -> Result<(Pattern, Mapped), String> {
    let pattern = Pattern::parse(key)
        .ok_or("the key is not namespace/name (a-z, 0-9, '-', '.', and * for any characters)")?;
    let fields = value.as_object().ok_or("not an object")?;
    let mapped = Mapped {
        key: key.into(),
        role: text(fields, "RoleARN")?.ok_or("no RoleARN")?,
        audience: text(fields, "Audience")?.filter(|audience| !audience.is_empty()),
        sts_regional_endpoints: match field(fields, "UseRegionalSTS")? {
            None => None,
            Some(value) => Some(value.as_bool().ok_or("UseRegionalSTS is neither true nor false")?),
        },
        token_expiration: match field(fields, "TokenExpiration")? {
            None => None,
            // Go's decoder leaves a missing number at 0.
            Some(value) if value.as_i64() == Some(0) => None,
            Some(value) if value.is_i64() || value.is_u64() => Some(value.to_string().into()),
            Some(_) => return Err("TokenExpiration is not a whole number of seconds".to_owned()),
        },
    };
    Ok((pattern, mapped))
}

/// A field's text, trimmed.
fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, String> {
    match field(fields, name)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().into())),
        Some(_) => Err(format!("{name} is not a string")),
    }
}

/// A field's value; `None` for null. Go takes the last of two spellings; here, two are refused.
fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Value>, String> {
    let mut spelled = fields.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
    let value = spelled.next().map(|(_, value)| value).filter(|value| !value.is_null());
    match spelled.next() {
        Some(_) => Err(format!("{name} is given twice")),
        None => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn mapping(text: &str) -> Mapping {
        Mapping::parse(text, &Resolver::new(Arc::default())).unwrap()
    }

    /// Which key an account's role comes from.
    fn key<'a>(mapping: &'a Mapping, namespace: &str, name: &str) -> Option<&'a str> {
        mapping.find(namespace, name).map(|entry| &*entry.mapped.key)
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in r#"(\{?("[a-z*/]{0,5}":\{?("RoleARN":)?("r"|1|null)?\}?,?){0,3}\}?|\PC{0,30})"#) {
            Mapping::parse(&text, &Resolver::new(Arc::default())).ok();
        }
    }

    #[test]
    fn the_most_specific_key_counts() {
        let keys =
            ["*/*", "*/api", "test-*/*", "test-1/*", "test-1*/api", "test-1/api", "test-1/a*", "*-1/a"];
        let entries = keys.map(|key| format!(r#""{key}": {{"RoleARN": "{key}"}}"#));
        let forwards = mapping(&format!("{{{}}}", entries.join(",")));
        let mut entries = entries;
        entries.reverse();
        let backwards = mapping(&format!("{{{}}}", entries.join(",")));
        for (namespace, name, expected) in [
            ("test-1", "api", "test-1/api"),
            ("test-1", "abc", "test-1/a*"),
            ("test-1", "web", "test-1/*"),
            ("test-12", "api", "test-1*/api"),
            ("test-2", "api", "test-*/*"),
            ("prod-1", "a", "*-1/a"),
            ("prod-2", "api", "*/api"),
            ("prod-2", "web", "*/*"),
        ] {
            assert_eq!(key(&forwards, namespace, name), Some(expected), "{namespace}/{name}");
            assert_eq!(key(&backwards, namespace, name), Some(expected), "{namespace}/{name}");
        }
        assert_eq!(
            key(&mapping(r#"{"b*/x*": {"RoleARN": "r"}, "*b/*x": {"RoleARN": "r"}}"#), "b", "x"),
            Some("*b/*x")
        );
    }

    #[test]
    fn fields_are_found_in_any_case_and_zeros_count_as_absent() {
        let mapping = mapping(
            r#"{"a/b": {"rolearn": " r ", "AUDIENCE": "vault", "useRegionalSts": true, "tokenExpiration": 60, "Other": 1},
                "c/d": {"RoleARN": "r", "Audience": "", "UseRegionalSTS": null, "TokenExpiration": 0}}"#,
        );
        let of = |key: &str| &mapping.exact[key].mapped;
        assert_eq!((&*of("a/b").role, of("a/b").audience.as_deref()), ("r", Some("vault")));
        assert_eq!(of("a/b").sts_regional_endpoints, Some(true));
        assert_eq!(of("a/b").token_expiration.as_deref(), Some("60"));
        assert!(of("c/d").audience.is_none() && of("c/d").token_expiration.is_none());
        assert!(of("c/d").sts_regional_endpoints.is_none());
    }

    #[test]
    fn a_malformed_entry_spoils_only_itself() {
        let bad = [
            ("noslash", r#"{"RoleARN": "r"}"#, "not namespace/name"),
            ("a/b/c", r#"{"RoleARN": "r"}"#, "not namespace/name"),
            ("/b", r#"{"RoleARN": "r"}"#, "not namespace/name"),
            ("a/", r#"{"RoleARN": "r"}"#, "not namespace/name"),
            ("A/b", r#"{"RoleARN": "r"}"#, "not namespace/name"),
            ("a?/b", r#"{"RoleARN": "r"}"#, "not namespace/name"),
            ("a/null", "null", "not an object"),
            ("a/text", r#""r""#, "not an object"),
            ("a/none", r#"{"Audience": "x"}"#, "no RoleARN"),
            ("a/number", r#"{"RoleARN": 1}"#, "RoleARN is not a string"),
            ("a/twice", r#"{"RoleARN": "r", "roleArn": "s"}"#, "RoleARN is given twice"),
            ("a/sts", r#"{"RoleARN": "r", "UseRegionalSTS": "true"}"#, "UseRegionalSTS is neither"),
            ("a/float", r#"{"RoleARN": "r", "TokenExpiration": 3600.5}"#, "TokenExpiration is not a whole"),
            ("a/string", r#"{"RoleARN": "r", "TokenExpiration": "3600"}"#, "TokenExpiration is not a whole"),
        ];
        let entries: Vec<_> = bad.iter().map(|(key, value, _)| format!(r#""{key}": {value}"#)).collect();
        let mapping = mapping(&format!(r#"{{{}, "good/one": {{"RoleARN": "r"}}}}"#, entries.join(",")));
        assert_eq!((mapping.len(), key(&mapping, "good", "one")), (1, Some("good/one")));
        for ((key, _, reason), refused) in bad.iter().zip(mapping.refused()) {
            assert!(refused.key == *key && refused.reason.contains(reason), "{key}: {refused}");
        }
        assert_eq!(mapping.refused().len(), bad.len());
    }

    #[test]
    fn a_document_is_an_object_or_null() {
        let resolver = Resolver::new(Arc::default());
        for empty in ["{}", "null"] {
            assert!(Mapping::parse(empty, &resolver).unwrap().is_empty(), "{empty:?}");
        }
        for bad in ["", " \n", "{", "[]", "1", r#"{"a/b": {"RoleARN": "r"}} {}"#, "a/b: {}"] {
            assert!(Mapping::parse(bad, &resolver).is_err(), "{bad:?}");
        }
        let config_map = |data: Value| Mapping::of_config_map(&serde_json::json!({"data": data}), &resolver);
        assert!(config_map(Value::Null).unwrap().is_empty());
        assert!(config_map(serde_json::json!({"other": "x"})).unwrap().is_empty());
        assert!(config_map(serde_json::json!({"config": {}})).is_err());
    }

    #[test]
    fn an_empty_role_excepts_an_account_from_a_glob() {
        let resolver = Resolver::new(Arc::default());
        let mapping = mapping(r#"{"*/api": {"RoleARN": "r"}, "kube-system/api": {"RoleARN": ""}}"#);
        assert!(matches!(
            mapping.resolve(&resolver, ("a", "api"), &OwnAnnotations::NONE),
            Account::Granted(_)
        ));
        assert!(matches!(
            mapping.resolve(&resolver, ("kube-system", "api"), &OwnAnnotations::NONE),
            Account::Nothing
        ));
    }
}
