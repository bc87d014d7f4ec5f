//! What the kubelet makes of a stored pod: the environment of a container, and the files of its token volumes.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::api::Api;

/// A container as its process finds it.
pub(crate) struct Container {
    pub(crate) env: Vec<(String, String)>,
    /// The file of each projected token that has an audience, with the token.
    pub(crate) tokens: Vec<(PathBuf, String)>,
}

impl Container {
    /// The first container of a stored pod. Tokens are those that the API server issues for the pod's own volumes.
    pub(crate) async fn of(api: &Api, pod: &Value) -> Self {
        let container = &pod["spec"]["containers"][0];
        let env = container["env"].as_array().map_or(&[][..], Vec::as_slice).iter();
        let env = env.map(|entry| (text(&entry["name"]), value(entry, pod))).collect();
        let mut tokens = Vec::new();
        for mount in container["volumeMounts"].as_array().unwrap() {
            let volumes = pod["spec"]["volumes"].as_array().unwrap();
            let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]).unwrap();
            for source in volume["projected"]["sources"].as_array().into_iter().flatten() {
                let source = &source["serviceAccountToken"];
                if source["audience"].is_string() {
                    let file = PathBuf::from(text(&mount["mountPath"])).join(text(&source["path"]));
                    tokens.push((file, token(api, pod, source).await));
                }
            }
        }
        Self { env, tokens }
    }

    pub(crate) fn var(&self, name: &str) -> &str {
        let entry = self.env.iter().find(|(key, _)| key == name);
        entry.map(|(_, value)| value.as_str()).unwrap_or_else(|| panic!("{name} is not in {:?}", self.env))
    }
}

/// The value of an entry of `env`: as it is written, or of a field of the pod.
fn value(entry: &Value, pod: &Value) -> String {
    match entry["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
        Some("metadata.name") => text(&pod["metadata"]["name"]),
        Some(other) => panic!("the test does not know the field {other}"),
        None => text(&entry["value"]),
    }
}

/// A token for a volume's source, bound to the pod, as the kubelet requests it.
async fn token(api: &Api, pod: &Value, source: &Value) -> String {
    let (metadata, account) = (&pod["metadata"], text(&pod["spec"]["serviceAccountName"]));
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            "audiences": [source["audience"]],
            "expirationSeconds": source["expirationSeconds"],
            "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
        },
    });
    let namespace = text(&metadata["namespace"]);
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
    text(&api.create(&path, &request).await.unwrap()["status"]["token"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}")).to_owned()
}
