//! The objects of tenants, as commands read them: without `managedFields`.
//!
//! Whoever creates an object may write them, as deep as they like: the API server stores them, and serde_json reads only 128
//! objects within each other.

use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value, json};

/// Reads the metadata and the specification of a pod.
pub(super) fn pod(json: &[u8]) -> serde_json::Result<Value> {
    #[derive(Deserialize)]
    struct Pod {
        metadata: Metadata,
        spec: Value,
    }
    let Pod { metadata, spec } = serde_json::from_slice(json)?;
    Ok(json!({"metadata": metadata.others, "spec": spec}))
}

/// Reads the metadata of a list's items.
pub(super) fn list_of_metadata(json: &[u8]) -> serde_json::Result<Value> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        metadata: Metadata,
    }
    let List { items } = serde_json::from_slice(json)?;
    let items = items.into_iter().map(|item| json!({"metadata": item.metadata.others}));
    Ok(json!({"items": items.collect::<Vec<_>>()}))
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default, rename = "managedFields")]
    _managed_fields: IgnoredAny,
    #[serde(flatten)]
    others: Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_of_any_depth_are_left_out() {
        let deep = format!("{}{{}}{}", r#"{"f:x":"#.repeat(10_000), "}".repeat(10_000));
        let of_pod = format!(
            r#"{{"metadata":{{"name":"a","managedFields":[{{"fieldsV1":{deep}}}],"labels":{{"b":"c"}}}},
                "spec":{{"containers":[{{"name":"d"}}]}},"status":{{"phase":"Running"}}}}"#
        );
        let expected =
            json!({"metadata": {"name": "a", "labels": {"b": "c"}}, "spec": {"containers": [{"name": "d"}]}});
        assert_eq!(pod(of_pod.as_bytes()).unwrap(), expected);
        let list = format!(r#"{{"kind":"L","items":[{of_pod},{of_pod}]}}"#);
        let expected = json!({"metadata": expected["metadata"]});
        assert_eq!(list_of_metadata(list.as_bytes()).unwrap(), json!({"items": [expected, expected]}));
        for bad in ["", "[]", r#"{"metadata":[],"spec":{}}"#, r#"{"spec":{}}"#] {
            assert!(pod(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
