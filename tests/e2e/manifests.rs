//! The manifests of `deploy/`, as a user applies them.

use std::{fs, path::Path};

use eks_pod_identity_webhook::yaml;
use serde_json::Value;

/// The objects of a file of the repository.
pub(crate) fn read(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    yaml::documents(&text).iter().map(|document| document.parse().unwrap().value).collect()
}

/// The one object of this kind.
pub(crate) fn of_kind<'a>(objects: &'a mut [Value], kind: &str) -> &'a mut Value {
    objects.iter_mut().find(|object| object["kind"] == kind).unwrap()
}
