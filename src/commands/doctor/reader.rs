//! Reads the API server, with errors as findings need them.

use hyper::{Request, header::ACCEPT};
use serde_json::Value;

use super::checks::{Read, Unread};
use crate::kube::root_cause::root_cause;

const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

pub(super) struct Reader(pub(super) kube::Client);

impl Reader {
    pub(super) async fn get(&self, path: &str) -> Read<Value> {
        self.send(Request::get(path).body(Vec::new())).await
    }

    /// The metadata of a list's objects.
    pub(super) async fn get_metadata(&self, path: &str) -> Read<Value> {
        self.send(Request::get(path).header(ACCEPT, METADATA).body(Vec::new())).await
    }

    pub(super) async fn create(&self, path: &str, object: String) -> Read<Value> {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(object.into_bytes())).await
    }

    /// The text of a response.
    pub(super) async fn text(&self, path: &str) -> Read<String> {
        self.send_raw(Request::get(path).body(Vec::new())).await
    }

    async fn send(&self, request: hyper::http::Result<Request<Vec<u8>>>) -> Read<Value> {
        let text = self.send_raw(request).await?;
        serde_json::from_str(&text).map_err(|error| failed(&error))
    }

    async fn send_raw(&self, request: hyper::http::Result<Request<Vec<u8>>>) -> Read<String> {
        let request = request.map_err(|error| failed(&error))?;
        self.0.request_text(request).await.map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 404 => Unread::Missing,
            kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
                Unread::Forbidden(status.message.clone())
            }
            kube::Error::Api(status) => Unread::Failed(status.message.clone()),
            error => failed(error),
        })
    }
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Unread {
    Unread::Failed(root_cause(error))
}
