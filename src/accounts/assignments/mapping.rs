//! Roles mapped to ServiceAccounts by a document instead of by their annotations: what kOps keeps in a ConfigMap for the
//! AWS webhook.
//!
//! ```json
//! {"payments/api": {"RoleARN": "arn:aws:iam::111122223333:role/api"}, "test-*/api": {"RoleARN": "…"}}
//! ```
//!
//! A key that names one account goes before every glob. Of the globs that match, the one with the more specific
//! namespace counts, then the one with the more specific name: a part without `*` before one with, then the one with more
//! characters that are not `*`. What is left is decided by the order of the keys.

use std::{cmp::Reverse, collections::HashMap};

use serde_json::{Map, Value};
use thiserror::Error;

use crate::injection::{
    binding::{Account, Binder, Mapped},
    settings::TokenExpiration,
    warning::quote,
};

/// The ConfigMap that holds the document.
pub const CONFIG_MAP: &str = "pod-identity-webhook";

/// The key of its data under which it does.
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

/// What accounts are given that a key matches.
#[derive(Debug)]
struct Entry {
    mapped: Mapped,
    /// To those that have no annotations of their own.
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
    #[error("data.{DATA_KEY} is no string")]
    NoText,
    /// The text is not JSON.
    #[error("data.{DATA_KEY} is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// It is JSON of another kind.
    #[error("data.{DATA_KEY} is no JSON object of namespace/name to role")]
    NoObject,
}

impl Mapping {
    /// Reads what a ConfigMap holds. One without the key maps nothing, as one that does not exist.
    pub fn of_config_map(config_map: &Value, binder: &Binder) -> Result<Self, BadMapping> {
        match &config_map["data"][DATA_KEY] {
            Value::Null => Ok(Self::default()),
            Value::String(text) => Self::parse(text, binder),
            _ => Err(BadMapping::NoText),
        }
    }

    /// Reads a document. Fields are found whatever their case, as Go's `encoding/json` finds them for the AWS webhook.
    pub fn parse(text: &str, binder: &Binder) -> Result<Self, BadMapping> {
        let mut mapping = Self::default();
        let entries = match serde_json::from_str(text)? {
            Value::Object(entries) => entries,
            Value::Null => return Ok(mapping),
            _ => return Err(BadMapping::NoObject),
        };
        for (key, value) in entries {
            match read(&key, &value) {
                Ok((pattern, mapped)) => mapping.add(key, pattern, mapped, binder),
                Err(reason) => mapping.refused.push(Refused { key, reason }),
            }
        }
        mapping.globs.sort_by(|(a, x), (b, y)| (a.order(), &x.mapped.key).cmp(&(b.order(), &y.mapped.key)));
        Ok(mapping)
    }

    fn add(&mut self, key: String, pattern: Pattern, mapped: Mapped, binder: &Binder) {
        let entry = Entry { account: binder.bind_mapped(&mapped, []), mapped };
        if pattern.is_exact() {
            self.exact.insert(key.into(), entry);
        } else {
            self.globs.push((pattern, entry));
        }
    }

    /// What an account is given that has no role of its own, with the annotations that it has.
    pub fn bind(
        &self,
        binder: &Binder,
        (namespace, name): (&str, &str),
        annotations: &[(Box<str>, Box<str>)],
    ) -> Account {
        match self.find(namespace, name) {
            None => binder.bind(annotations.iter().map(|(key, value)| (&**key, &**value))),
            Some(entry) if annotations.is_empty() => entry.account.clone(),
            Some(entry) => {
                let annotations = annotations.iter().map(|(key, value)| (&**key, &**value));
                binder.bind_mapped(&entry.mapped, annotations)
            }
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

    /// The entries that can't be used.
    pub fn refused(&self) -> &[Refused] {
        &self.refused
    }
}

/// A key: which accounts it is about.
#[derive(Debug)]
struct Pattern {
    namespace: Part,
    name: Part,
}

impl Pattern {
    fn is_exact(&self) -> bool {
        self.namespace.star.is_none() && self.name.star.is_none()
    }

    fn matches(&self, namespace: &str, name: &str) -> bool {
        self.namespace.matches(namespace) && self.name.matches(name)
    }

    /// More specific patterns are less.
    fn order(&self) -> impl Ord + use<> {
        (self.namespace.order(), self.name.order())
    }
}

/// One half of a key, in which each `*` stands for any characters, or none.
#[derive(Debug)]
struct Part {
    text: Box<str>,
    /// Where its first `*` is. Most accounts differ from most globs before it.
    star: Option<usize>,
}

impl Part {
    fn new(text: &str) -> Self {
        Self { text: text.into(), star: text.find('*') }
    }

    fn matches(&self, text: &str) -> bool {
        let Some(star) = self.star else { return *self.text == *text };
        let Some(mut text) = text.strip_prefix(&self.text[..star]) else { return false };
        let mut rest = &self.text[star + 1..];
        // What is between two stars may as well stand where it is found first.
        while let Some((part, next)) = rest.split_once('*') {
            let Some(found) = text.find(part) else { return false };
            text = &text[found + part.len()..];
            rest = next;
        }
        text.ends_with(rest)
    }

    fn order(&self) -> impl Ord + use<> {
        let stars = self.text.matches('*').count();
        (stars > 0, Reverse(self.text.len() - stars))
    }
}

fn read(key: &str, value: &Value) -> Result<(Pattern, Mapped), String> {
    let pattern = pattern(key)?;
    let fields = value.as_object().ok_or("no object")?;
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
            // To Go a number that is not there.
            Some(value) if value.as_i64() == Some(0) => None,
            Some(value) if value.is_i64() || value.is_u64() => {
                TokenExpiration::from_annotation(&value.to_string())
            }
            Some(_) => return Err("TokenExpiration is no whole number of seconds".to_owned()),
        },
    };
    Ok((pattern, mapped))
}

fn pattern(key: &str) -> Result<Pattern, String> {
    let is_part = |part: &str| {
        let is_plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-.*".contains(&c);
        !part.is_empty() && part.bytes().all(is_plain)
    };
    match key.split_once('/') {
        Some((namespace, name)) if is_part(namespace) && is_part(name) => {
            Ok(Pattern { namespace: Part::new(namespace), name: Part::new(name) })
        }
        _ => Err("the key is no namespace/name (a-z, 0-9, '-', '.', and * for any characters)".to_owned()),
    }
}

/// A field's text, trimmed.
fn text(fields: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, String> {
    match field(fields, name)? {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.trim().into())),
        Some(_) => Err(format!("{name} is no string")),
    }
}

/// A field's value; none where it is null. Go would take the last of two spellings; to take either is a guess.
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
        Mapping::parse(text, &Binder::new(Arc::default())).unwrap()
    }

    /// Which key an account's role comes from.
    fn key<'a>(mapping: &'a Mapping, namespace: &str, name: &str) -> Option<&'a str> {
        mapping.find(namespace, name).map(|entry| &*entry.mapped.key)
    }

    #[test]
    fn stars_stand_for_any_characters() {
        for (glob, text, expected) in [
            ("api", "api", true),
            ("api", "api2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("test-*", "test-1", true),
            ("test-*", "test", false),
            ("*-api", "a-api", true),
            ("*-api", "a-api-b", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**c", "ac", true),
            ("ab*ba", "aba", false),
            ("*a*a*", "a", false),
        ] {
            assert_eq!(Part::new(glob).matches(text), expected, "{glob} {text}");
        }
    }

    /// The definition, as slow as it is plain.
    fn matches_by_definition(glob: &[u8], text: &[u8]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => {
                (0..=text.len()).any(|skipped| matches_by_definition(rest, &text[skipped..]))
            }
            Some((c, rest)) => text.first() == Some(c) && matches_by_definition(rest, &text[1..]),
        }
    }

    proptest::proptest! {
        #[test]
        fn globs_match_what_they_are_defined_to(glob in "[ab*]{0,8}", text in "[ab]{0,10}") {
            proptest::prop_assert_eq!(
                Part::new(&glob).matches(&text),
                matches_by_definition(glob.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn any_text_is_read_or_refused(text in r#"(\{?("[a-z*/]{0,5}":\{?("RoleARN":)?("r"|1|null)?\}?,?){0,3}\}?|\PC{0,30})"#) {
            Mapping::parse(&text, &Binder::new(Arc::default())).ok();
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
        assert_eq!(of("a/b").token_expiration.map(TokenExpiration::seconds), Some(600));
        assert!(of("c/d").audience.is_none() && of("c/d").token_expiration.is_none());
        assert!(of("c/d").sts_regional_endpoints.is_none());
    }

    #[test]
    fn a_malformed_entry_spoils_only_itself() {
        let bad = [
            ("noslash", r#"{"RoleARN": "r"}"#, "no namespace/name"),
            ("a/b/c", r#"{"RoleARN": "r"}"#, "no namespace/name"),
            ("/b", r#"{"RoleARN": "r"}"#, "no namespace/name"),
            ("a/", r#"{"RoleARN": "r"}"#, "no namespace/name"),
            ("A/b", r#"{"RoleARN": "r"}"#, "no namespace/name"),
            ("a?/b", r#"{"RoleARN": "r"}"#, "no namespace/name"),
            ("a/null", "null", "no object"),
            ("a/text", r#""r""#, "no object"),
            ("a/none", r#"{"Audience": "x"}"#, "no RoleARN"),
            ("a/number", r#"{"RoleARN": 1}"#, "RoleARN is no string"),
            ("a/twice", r#"{"RoleARN": "r", "roleArn": "s"}"#, "RoleARN is given twice"),
            ("a/sts", r#"{"RoleARN": "r", "UseRegionalSTS": "true"}"#, "UseRegionalSTS is neither"),
            ("a/float", r#"{"RoleARN": "r", "TokenExpiration": 3600.5}"#, "TokenExpiration is no whole"),
            ("a/string", r#"{"RoleARN": "r", "TokenExpiration": "3600"}"#, "TokenExpiration is no whole"),
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
        let binder = Binder::new(Arc::default());
        for empty in ["{}", "null"] {
            assert!(Mapping::parse(empty, &binder).unwrap().is_empty(), "{empty:?}");
        }
        for bad in ["", " \n", "{", "[]", "1", r#"{"a/b": {"RoleARN": "r"}} {}"#, "a/b: {}"] {
            assert!(Mapping::parse(bad, &binder).is_err(), "{bad:?}");
        }
        let config_map = |data: Value| Mapping::of_config_map(&serde_json::json!({"data": data}), &binder);
        assert!(config_map(Value::Null).unwrap().is_empty());
        assert!(config_map(serde_json::json!({"other": "x"})).unwrap().is_empty());
        assert!(config_map(serde_json::json!({"config": {}})).is_err());
    }

    #[test]
    fn an_empty_role_excepts_an_account_from_a_glob() {
        let binder = Binder::new(Arc::default());
        let mapping = mapping(r#"{"*/api": {"RoleARN": "r"}, "kube-system/api": {"RoleARN": ""}}"#);
        assert!(matches!(mapping.bind(&binder, ("a", "api"), &[]), Account::Annotated(_)));
        assert!(matches!(mapping.bind(&binder, ("kube-system", "api"), &[]), Account::Unannotated));
    }
}
