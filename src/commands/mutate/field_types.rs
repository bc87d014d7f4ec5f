//! Fields of a manifest that have another type than Kubernetes gives them, in words.

use serde_json::Value;

use crate::report::printable;

#[derive(Clone, Copy)]
enum Type {
    Object,
    List,
    String,
}

/// The fields of a pod that the rules of injection read. `*` is each item of a list, or each value of an object.
const POD: [(&str, Type); 19] = [
    ("", Type::Object),
    ("metadata", Type::Object),
    ("metadata.name", Type::String),
    ("metadata.namespace", Type::String),
    ("metadata.labels", Type::Object),
    ("metadata.labels.*", Type::String),
    ("metadata.annotations", Type::Object),
    ("metadata.annotations.*", Type::String),
    ("spec", Type::Object),
    ("spec.serviceAccountName", Type::String),
    ("spec.serviceAccount", Type::String),
    ("spec.nodeSelector", Type::Object),
    ("spec.nodeSelector.*", Type::String),
    ("spec.os", Type::Object),
    ("spec.os.name", Type::String),
    ("spec.volumes", Type::List),
    ("spec.volumes.*", Type::Object),
    ("spec.volumes.*.name", Type::String),
    ("spec.volumes.*.projected", Type::Object),
];

/// The fields of a container.
const CONTAINER: [(&str, Type); 12] = [
    ("", Type::List),
    ("*", Type::Object),
    ("*.name", Type::String),
    ("*.env", Type::List),
    ("*.env.*", Type::Object),
    ("*.env.*.name", Type::String),
    ("*.env.*.value", Type::String),
    ("*.envFrom", Type::List),
    ("*.volumeMounts", Type::List),
    ("*.volumeMounts.*", Type::Object),
    ("*.volumeMounts.*.name", Type::String),
    ("*.volumeMounts.*.mountPath", Type::String),
];

/// The first field of a pod or pod template with a wrong type.
pub(super) fn wrong_in_pod(pod: &Value) -> Option<String> {
    let wrong = POD.iter().find_map(|(path, want)| wrong(pod, path, *want, String::new()));
    wrong.or_else(|| {
        ["spec.initContainers", "spec.containers"].iter().find_map(|list| {
            CONTAINER.iter().find_map(|(path, want)| {
                let path = if path.is_empty() { (*list).to_owned() } else { format!("{list}.{path}") };
                self::wrong(pod, &path, *want, String::new())
            })
        })
    })
}

/// The first field of an object's metadata with a wrong type.
pub(super) fn wrong_in_metadata(object: &Value) -> Option<String> {
    POD.iter()
        .filter(|(path, _)| path.starts_with("metadata"))
        .take(3)
        .find_map(|(path, want)| wrong(object, path, *want, String::new()))
}

fn wrong(value: &Value, path: &str, want: Type, at: String) -> Option<String> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    match first {
        "" => describe(value, want, &at),
        "*" => match value {
            Value::Array(items) => items
                .iter()
                .enumerate()
                .find_map(|(index, item)| wrong_item(item, rest, want, format!("{at}[{index}]"))),
            Value::Object(fields) => fields
                .iter()
                .find_map(|(key, field)| wrong(field, rest, want, format!("{at}.{}", printable(key)))),
            _ => None,
        },
        name => {
            let at = if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
            wrong(value.get(name)?, rest, want, at)
        }
    }
}

fn wrong_item(item: &Value, rest: &str, want: Type, at: String) -> Option<String> {
    if item.is_null() {
        return Some(format!("{at} is null and must be an object"));
    }
    wrong(item, rest, want, at)
}

fn describe(value: &Value, want: Type, at: &str) -> Option<String> {
    let (is_wanted, want) = match want {
        Type::Object => (value.is_object(), "an object"),
        Type::List => (value.is_array(), "a list"),
        Type::String => (value.is_string(), "a string"),
    };
    if is_wanted || value.is_null() {
        return None;
    }
    let (is, remedy) = match value {
        Value::Bool(value) => (format!("the boolean {value}"), want == "a string"),
        Value::Number(value) => (format!("the number {value}"), want == "a string"),
        Value::String(_) => ("a string".to_owned(), false),
        Value::Array(_) => ("a list".to_owned(), false),
        Value::Object(_) | Value::Null => ("an object".to_owned(), false),
    };
    let at = if at.is_empty() { "the pod template" } else { at };
    let remedy = if remedy { "; put it in quotes" } else { "" };
    Some(format!("{at} is {is} and must be {want}{remedy}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_of_a_wrong_type_are_named() {
        let container = |field: &str, value: Value| json!({"spec": {"containers": [{"name": "a"}, {"name": "b", field: value}]}});
        for (pod, expected) in [
            (json!([]), "the pod template is a list and must be an object"),
            (
                json!({"metadata": {"name": 123}}),
                "metadata.name is the number 123 and must be a string; put it in quotes",
            ),
            (
                json!({"metadata": {"annotations": {"a/b": true}}}),
                "metadata.annotations.a/b is the boolean true and must be a string; put it in quotes",
            ),
            (
                json!({"spec": {"serviceAccountName": 7}}),
                "spec.serviceAccountName is the number 7 and must be a string; put it in quotes",
            ),
            (
                json!({"spec": {"containers": {"name": "a"}}}),
                "spec.containers is an object and must be a list",
            ),
            (json!({"spec": {"containers": ["a"]}}), "spec.containers[0] is a string and must be an object"),
            (container("env", json!({})), "spec.containers[1].env is an object and must be a list"),
            (
                container("env", json!([{"name": "A"}, {"name": "B", "value": 1}])),
                "spec.containers[1].env[1].value is the number 1 and must be a string; put it in quotes",
            ),
        ] {
            assert_eq!(wrong_in_pod(&pod).as_deref(), Some(expected));
        }
        for pod in [
            json!({}),
            json!({"metadata": null, "spec": {"containers": null}}),
            container("env", json!(null)),
        ] {
            assert_eq!(wrong_in_pod(&pod), None, "{pod}");
        }
        assert_eq!(
            wrong_in_metadata(&json!({"metadata": {"namespace": 1}})).unwrap(),
            "metadata.namespace is the number 1 and must be a string; put it in quotes"
        );
    }
}
