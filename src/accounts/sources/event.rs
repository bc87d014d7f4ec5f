//! ServiceAccounts and events of their watch, decoded.
//!
//! A tenant may put 256 KiB of annotations on an account. Only those that matter are kept; the others, labels and
//! `managedFields` are skipped without a copy.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor},
};

use crate::injection::annotation_keys::{AnnotationKeys, Interest, MAX_SUSPECTS, MAX_VALUE_BYTES};

/// On the bookmark that ends the initial events of a watch.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// The metadata of a ServiceAccount that this program reads.
#[derive(Debug, Default, PartialEq)]
pub(super) struct AccountMeta {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) version: String,
    annotations: Vec<(String, String)>,
}

impl AccountMeta {
    /// The annotations that matter, each value cut to a sensible length.
    pub(super) fn annotations(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.annotations.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// An event of a watch.
#[derive(Debug, PartialEq)]
pub(super) enum Event {
    /// An account exists: it was created or changed, or belongs to the initial state.
    Applied(AccountMeta),
    /// An account was deleted.
    Deleted(AccountMeta),
    /// Nothing happened up to this version.
    Bookmark { version: String, ends_initial_events: bool },
    /// The watch failed.
    Error { code: u16, message: String },
}

/// Decodes an event.
pub(super) fn event(json: &[u8], keys: &AnnotationKeys) -> serde_json::Result<Event> {
    let Decoded { kind, account, ends_initial_events, code, message } = decode(json, keys, Level::Event)?;
    match &*kind {
        "ADDED" | "MODIFIED" => checked(account).map(Event::Applied),
        "DELETED" => checked(account).map(Event::Deleted),
        "BOOKMARK" => Ok(Event::Bookmark { version: account.version, ends_initial_events }),
        "ERROR" => Ok(Event::Error { code, message }),
        kind => Err(Error::custom(format!("an event of type {kind:?}"))),
    }
}

/// Decodes an account.
pub(super) fn account(json: &[u8], keys: &AnnotationKeys) -> serde_json::Result<AccountMeta> {
    checked(decode(json, keys, Level::Object)?.account)
}

fn checked(account: AccountMeta) -> serde_json::Result<AccountMeta> {
    match &account {
        AccountMeta { namespace, name, .. } if namespace.is_empty() || name.is_empty() => {
            Err(Error::custom("a ServiceAccount without a name or a namespace"))
        }
        _ => Ok(account),
    }
}

#[derive(Default)]
struct Decoded {
    kind: String,
    account: AccountMeta,
    ends_initial_events: bool,
    code: u16,
    message: String,
}

fn decode(json: &[u8], keys: &AnnotationKeys, level: Level) -> serde_json::Result<Decoded> {
    let (mut decoded, mut deserializer) = (Decoded::default(), serde_json::Deserializer::from_slice(json));
    Decoder { level, keys, suspects: 0, decoded: &mut decoded }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(decoded)
}

/// Which object is read: each of them is in the one before.
#[derive(Clone, Copy)]
enum Level {
    Event,
    Object,
    Metadata,
    Annotations,
}

/// Reads an object, and the objects in it that matter.
struct Decoder<'d> {
    level: Level,
    keys: &'d AnnotationKeys,
    /// How many annotations have been kept that are only suspected to be a mistake.
    suspects: usize,
    decoded: &'d mut Decoded,
}

impl Decoder<'_> {
    fn inner(&mut self, level: Level) -> Decoder<'_> {
        Decoder { level, keys: self.keys, suspects: 0, decoded: self.decoded }
    }

    fn keeps(&mut self, key: &str) -> bool {
        match self.keys.interest(key) {
            Interest::Read => true,
            Interest::Suspect => {
                self.suspects += 1;
                self.suspects <= MAX_SUSPECTS
            }
            Interest::None => false,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Decoder<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Decoder<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    /// `null`, which is an object without fields.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(key)) = map.next_key()? {
            match (self.level, &*key) {
                (Level::Event, "type") => self.decoded.kind = text(&mut map)?,
                (Level::Event, "object") => map.next_value_seed(self.inner(Level::Object))?,
                (Level::Object, "metadata") => map.next_value_seed(self.inner(Level::Metadata))?,
                (Level::Object, "code") => self.decoded.code = map.next_value()?,
                (Level::Object, "message") => self.decoded.message = text(&mut map)?,
                (Level::Metadata, "namespace") => self.decoded.account.namespace = text(&mut map)?,
                (Level::Metadata, "name") => self.decoded.account.name = text(&mut map)?,
                (Level::Metadata, "resourceVersion") => self.decoded.account.version = text(&mut map)?,
                (Level::Metadata, "annotations") => map.next_value_seed(self.inner(Level::Annotations))?,
                (Level::Annotations, INITIAL_EVENTS_END) => {
                    self.decoded.ends_initial_events = text(&mut map)? == "true";
                }
                (Level::Annotations, key) if self.keeps(key) => {
                    let value = text(&mut map)?;
                    self.decoded.account.annotations.push((key.to_owned(), value));
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// A value, cut to a sensible length; empty for `null`, as for Kubernetes.
fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<String, A::Error> {
    let Some(Text(value)) = map.next_value::<Option<Text<'de>>>()? else { return Ok(String::new()) };
    let mut end = value.len().min(MAX_VALUE_BYTES);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    Ok(value[..end].to_owned())
}

/// A string that is borrowed, unless it has escapes.
struct Text<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AsText;
        impl<'de> Visitor<'de> for AsText {
            type Value = Text<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(AsText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::settings::Settings;

    fn keys() -> AnnotationKeys {
        AnnotationKeys::of(&Settings::default())
    }

    fn event_of(json: &str) -> Result<Event, String> {
        event(json.as_bytes(), &keys()).map_err(|error| error.to_string())
    }

    #[test]
    fn only_annotations_that_matter_are_kept_and_long_ones_are_cut() {
        let long = "é".repeat(MAX_VALUE_BYTES);
        let suspects: String = (10..100).map(|n| format!(r#""eks.amazonaws.com/role-a{n}":"x","#)).collect();
        let json = format!(
            r#"{{"kind":"PartialObjectMetadata","metadata":{{"managedFields":[{{"f:metadata":{{}}}}],"name":"n","namespace":"s",
                "resourceVersion":"7","annotations":{{"foreign":"\u003c\u003c","eks.amazonaws.com/audience":null,{suspects}
                "eks.amazonaws.com/role-arn":"\u003ca","eks.amazonaws.com/region":"{long}"}},"labels":{{"name":"x"}}}}}}"#
        );
        let account = account(json.as_bytes(), &keys()).unwrap();
        assert_eq!((&*account.namespace, &*account.name, &*account.version), ("s", "n", "7"));
        let (suspects, kept): (Vec<_>, Vec<_>) = account.annotations().partition(|(_, value)| *value == "x");
        assert_eq!(suspects.len(), MAX_SUSPECTS);
        assert_eq!(kept[..2], [("eks.amazonaws.com/audience", ""), ("eks.amazonaws.com/role-arn", "<a")]);
        assert_eq!(kept[2].1.len(), MAX_VALUE_BYTES);
    }

    #[test]
    fn every_kind_of_event_is_decoded() {
        let meta = r#""metadata":{"name":"n","namespace":"s","resourceVersion":"7","annotations":null}"#;
        let account = || AccountMeta {
            namespace: "s".to_owned(),
            name: "n".to_owned(),
            version: "7".to_owned(),
            annotations: Vec::new(),
        };
        let bookmark = |ends_initial_events| Event::Bookmark { version: "9".to_owned(), ends_initial_events };
        for (json, expected) in [
            (format!(r#"{{"type":"ADDED","object":{{{meta}}}}}"#), Event::Applied(account())),
            (format!(r#"{{"object":{{{meta}}},"type":"MODIFIED"}}"#), Event::Applied(account())),
            (format!(r#"{{"type":"DELETED","object":{{{meta}}}}}"#), Event::Deleted(account())),
            (r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}"#.to_owned(), bookmark(false)),
            (
                r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}}}"#
                    .to_owned(),
                bookmark(true),
            ),
            (
                r#"{"type":"ERROR","object":{"kind":"Status","metadata":{},"code":410,"message":"gone"}}"#.to_owned(),
                Event::Error { code: 410, message: "gone".to_owned() },
            ),
        ] {
            assert_eq!(event_of(&json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn malformed_events_are_errors() {
        for json in [
            "",
            "7",
            "{}",
            r#"{"type":"ADDED"}"#,
            r#"{"type":"ADDED","object":{"metadata":{"name":7}}}"#,
            r#"{"type":"ADDED","object":{"metadata":{"name":"n"}}}"#,
            r#"{"type":"ADDED","object":{"metadata":[]}}"#,
            r#"{"type":"UNHEARD","object":{}}"#,
            r#"{"type":"BOOKMARK","object":{}} x"#,
            r#"{"type":"ADDED","object":{"metadata":{"name":"n","namespace":"s","annotations":{"eks.amazonaws.com/region":1}}}}"#,
        ] {
            assert!(event_of(json).is_err(), "{json}");
        }
    }
}
