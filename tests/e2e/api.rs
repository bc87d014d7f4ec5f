//! A client of the API server that speaks JSON, so that tests see objects as they are stored.

use hyper::{Method, Request, Response};
use kube::{
    Client, Config,
    client::Body,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::support::within;

#[derive(Clone)]
pub(crate) struct Api(Client);

pub(crate) type Result<T> = std::result::Result<T, kube::Error>;

impl Api {
    pub(crate) async fn new(kubeconfig: Value) -> Self {
        let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        Self(Client::try_from(config).unwrap())
    }

    pub(crate) async fn text(&self, path: &str) -> Result<String> {
        self.0.request_text(request(Method::GET, path, "", Vec::new())).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.json(Method::GET, path, "", &Value::Null).await
    }

    pub(crate) async fn create(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(Method::POST, path, "application/json", object).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<Value> {
        self.json(Method::DELETE, path, "", &Value::Null).await
    }

    /// Changes fields, as `kubectl annotate` does.
    pub(crate) async fn merge(&self, path: &str, patch: &Value) -> Result<Value> {
        self.json(Method::PATCH, path, "application/merge-patch+json", patch).await
    }

    /// Changes lists by their keys, as `kubectl debug` does.
    pub(crate) async fn merge_strategically(&self, path: &str, patch: &Value) -> Result<Value> {
        self.json(Method::PATCH, path, "application/strategic-merge-patch+json", patch).await
    }

    /// Applies an object on the server's side.
    pub(crate) async fn apply(&self, object: &Value) -> Result<Value> {
        let path = format!("{}?fieldManager=e2e&force=true", path_of(object));
        self.json(Method::PATCH, &path, "application/apply-patch+yaml", object).await
    }

    /// The answer to a creation with its headers, where warnings are.
    pub(crate) async fn create_raw(&self, path: &str, object: &Value) -> Response<Body> {
        let body = serde_json::to_vec(object).unwrap();
        let request = request(Method::POST, path, "application/json", body).map(Body::from);
        within("an answer of the API server", self.0.send(request)).await.unwrap()
    }

    /// Creates a namespace with the accounts `api`, of a role, and `plain`, of none.
    pub(crate) async fn create_namespace(&self, name: &str) {
        self.create("/api/v1/namespaces", &json!({"metadata": {"name": name}})).await.unwrap();
        self.create_account(name, "api", &json!({crate::support::ROLE_ANNOTATION: crate::support::ROLE}))
            .await;
        self.create_account(name, "plain", &json!({})).await;
    }

    pub(crate) async fn create_account(&self, namespace: &str, name: &str, annotations: &Value) {
        let account = json!({"metadata": {"name": name, "annotations": annotations}});
        self.create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &account).await.unwrap();
    }

    /// Creates a pod and returns it as it is stored.
    pub(crate) async fn create_pod(&self, namespace: &str, pod: &Value) -> Result<Value> {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let created = self.create(&pods, pod).await?;
        self.get(&format!("{pods}/{}", created["metadata"]["name"].as_str().unwrap())).await
    }

    async fn json(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let answer = self.0.request(request(method, path, content_type, body));
        within("an answer of the API server", answer).await
    }
}

fn request(method: Method, path: &str, content_type: &str, body: Vec<u8>) -> Request<Vec<u8>> {
    let request = Request::builder().method(method).uri(path);
    request.header("Content-Type", content_type).body(body).unwrap()
}

/// Where an object is.
pub(crate) fn path_of(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{object}")).to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]).to_lowercase());
    let api = if version.contains('/') { "apis" } else { "api" };
    let kinds = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    let namespace = object["metadata"]["namespace"].as_str();
    let namespace = namespace.map_or(String::new(), |namespace| format!("/namespaces/{namespace}"));
    format!("/{api}/{version}{namespace}/{kinds}/{}", text(&object["metadata"]["name"]))
}
