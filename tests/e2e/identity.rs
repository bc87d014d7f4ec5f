//! What of a stored pod is the program's doing, in a form that a test can write down.

use serde_json::{Map, Value, json};

use crate::support::ROLE;

pub(crate) const TOKEN_FILE: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount/token";
const MOUNT_PATH: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";

/// The pod's token volumes of AWS (`<name>`: `<audience> <seconds>`) and, for each container, its variables of AWS and
/// what is mounted where the token belongs.
pub(crate) fn of(pod: &Value) -> Value {
    let mut volumes = Map::new();
    for volume in items(&pod["spec"]["volumes"]) {
        for source in items(&volume["projected"]["sources"]) {
            if let Some(audience) = source["serviceAccountToken"]["audience"].as_str() {
                let seconds = &source["serviceAccountToken"]["expirationSeconds"];
                volumes.insert(text(&volume["name"]), json!(format!("{audience} {seconds}")));
            }
        }
    }
    let mut containers = Map::new();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in items(&pod["spec"][list]) {
            containers.insert(text(&container["name"]), of_container(container));
        }
    }
    json!({"volumes": volumes, "containers": containers})
}

/// The variables of each container, in their order.
pub(crate) fn env(pod: &Value) -> Vec<(String, Vec<String>)> {
    let containers = ["initContainers", "containers"].into_iter().flat_map(|list| items(&pod["spec"][list]));
    let names =
        |container: &Value| items(&container["env"]).iter().map(|entry| text(&entry["name"])).collect();
    containers.map(|container| (text(&container["name"]), names(container))).collect()
}

fn of_container(container: &Value) -> Value {
    let mut identity = Map::new();
    for entry in items(&container["env"]).iter().filter(|entry| text(&entry["name"]).starts_with("AWS_")) {
        let value = match &entry["valueFrom"]["fieldRef"]["fieldPath"] {
            Value::String(path) => json!(format!("({path})")),
            _ => entry["value"].clone(),
        };
        let twice = identity.insert(text(&entry["name"]), value);
        assert!(twice.is_none(), "{container}");
    }
    let mounts = items(&container["volumeMounts"]);
    for mount in mounts.iter().filter(|mount| text(&mount["mountPath"]).trim_end_matches('/') == MOUNT_PATH) {
        let twice = identity.insert("mount".to_owned(), mount["name"].clone());
        assert!(twice.is_none(), "{container}");
    }
    Value::Object(identity)
}

/// What each of these containers of the pod called `pod` is given by default.
pub(crate) fn given(pod: &str, containers: &[&str]) -> Value {
    let container = json!({
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": TOKEN_FILE,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ROLE_SESSION_NAME": pod,
        "mount": "aws-token",
    });
    let containers: Map<_, _> =
        containers.iter().map(|name| ((*name).to_owned(), container.clone())).collect();
    json!({"volumes": {"aws-token": "sts.amazonaws.com 3600"}, "containers": containers})
}

/// A pod without any of it.
pub(crate) fn none(containers: &[&str]) -> Value {
    let containers: Map<_, _> = containers.iter().map(|name| ((*name).to_owned(), json!({}))).collect();
    json!({"volumes": {}, "containers": containers})
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
