//! The pods of a cluster as commands read them.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, json};

/// Reads the metadata and the specification of a pod.
///
/// `managedFields` are left out. Whoever creates a pod may write them, as deep as they like: the API server stores them, and
/// serde_json reads only 128 objects within each other.
pub(super) fn read(json: &[u8]) -> serde_json::Result<Value> {
    let Pod { metadata: Metadata(metadata), spec } = serde_json::from_slice(json)?;
    Ok(json!({"metadata": metadata, "spec": spec}))
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    spec: Value,
}

struct Metadata(Map<String, Value>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WithoutManagedFields)
    }
}

struct WithoutManagedFields;

impl<'de> Visitor<'de> for WithoutManagedFields {
    type Value = Metadata;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
        let mut metadata = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "managedFields" {
                map.next_value::<IgnoredAny>()?;
            } else {
                metadata.insert(key, map.next_value()?);
            }
        }
        Ok(Metadata(metadata))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_of_any_depth_are_left_out() {
        let deep = format!("{}{{}}{}", r#"{"f:x":"#.repeat(10_000), "}".repeat(10_000));
        let pod = format!(
            r#"{{"metadata":{{"name":"a","managedFields":[{{"fieldsV1":{deep}}}],"labels":{{"b":"c"}}}},
                "spec":{{"containers":[{{"name":"d"}}]}},"status":{{"phase":"Running"}}}}"#
        );
        let expected =
            json!({"metadata": {"name": "a", "labels": {"b": "c"}}, "spec": {"containers": [{"name": "d"}]}});
        assert_eq!(read(pod.as_bytes()).unwrap(), expected);
        for bad in ["", "[]", r#"{"metadata":[],"spec":{}}"#, r#"{"spec":{}}"#] {
            assert!(read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
