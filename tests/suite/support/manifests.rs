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

/// The one container of a Deployment.
pub(crate) fn container(deployment: &Value) -> &Value {
    let containers = deployment["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    &containers[0]
}

/// Its arguments, without the addresses to listen on.
pub(crate) fn args(deployment: &Value) -> Vec<String> {
    let args = container(deployment)["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
    args.filter(|arg| !arg.starts_with("--listen=") && !arg.starts_with("--admin-listen="))
        .map(ToOwned::to_owned)
        .collect()
}
