//! The types that Kubernetes gives to the fields which the core reads.

use serde_json::Value;

/// What a value has to be. Where nothing else is said, `null` will do.
pub(crate) enum Shape {
    Text,
    List(&'static Shape),
    /// With these fields; others may be anything.
    Object(&'static [(&'static str, Shape)]),
    NotNull(&'static Shape),
}

use Shape::{List, NotNull, Object, Text};

pub(crate) fn fits(value: &Value, shape: &Shape) -> bool {
    match (shape, value) {
        (NotNull(_), Value::Null) => false,
        (NotNull(shape), value) => fits(value, shape),
        (_, Value::Null) | (Text, Value::String(_)) => true,
        (List(item), Value::Array(items)) => items.iter().all(|value| fits(value, item)),
        (Object(fields), Value::Object(map)) => {
            fields.iter().all(|(key, shape)| map.get(*key).is_none_or(|value| fits(value, shape)))
        }
        _ => false,
    }
}

pub(crate) const REQUEST: Shape = NotNull(&Object(&[
    ("uid", Text),
    ("operation", Text),
    ("resource", Object(&[("group", Text), ("resource", Text)])),
    ("subResource", Text),
    ("name", Text),
    ("namespace", Text),
]));

pub(crate) const POD: Shape = Object(&[("metadata", METADATA), ("spec", SPEC)]);

const METADATA: Shape = Object(&[
    ("name", Text),
    ("namespace", Text),
    (
        "annotations",
        Object(&[
            ("eks.amazonaws.com/token-expiration", Text),
            ("eks.amazonaws.com/region", Text),
            ("eks.amazonaws.com/skip-containers", Text),
            ("eks.amazonaws.com/include-containers", Text),
            ("eks.amazonaws.com/session-name", Text),
        ]),
    ),
    ("labels", Object(&[])),
]);

const SPEC: Shape = Object(&[
    ("serviceAccountName", Text),
    ("serviceAccount", Text),
    ("os", Object(&[("name", Text)])),
    ("nodeSelector", Object(&[("kubernetes.io/os", Text), ("beta.kubernetes.io/os", Text)])),
    ("affinity", Object(&[("nodeAffinity", NODE_AFFINITY)])),
    ("volumes", List(&VOLUME)),
    ("initContainers", CONTAINERS),
    ("containers", CONTAINERS),
    ("ephemeralContainers", CONTAINERS),
]);

const NODE_AFFINITY: Shape = Object(&[(
    "requiredDuringSchedulingIgnoredDuringExecution",
    Object(&[("nodeSelectorTerms", List(&Object(&[("matchExpressions", List(&EXPRESSION))])))]),
)]);

const EXPRESSION: Shape = Object(&[("key", Text), ("operator", Text), ("values", List(&Text))]);

const TOKEN: Shape = Object(&[("audience", Text), ("path", Text)]);

const VOLUME: Shape = Object(&[
    ("name", Text),
    ("projected", Object(&[("sources", List(&Object(&[("serviceAccountToken", TOKEN)])))])),
]);

const CONTAINERS: Shape = List(&NotNull(&Object(&[
    ("name", Text),
    ("env", List(&Object(&[("name", Text)]))),
    ("envFrom", List(&Object(&[]))),
    (
        "volumeMounts",
        List(&Object(&[("name", Text), ("mountPath", Text), ("subPath", Text), ("subPathExpr", Text)])),
    ),
    ("volumeDevices", List(&Object(&[("devicePath", Text)]))),
])));
