//! Reads the API server, with errors as findings need them.

use hyper::{
    Request,
    header::{ACCEPT, CONTENT_TYPE},
    http::request::Builder,
};
use kube::client::Body;
use serde_json::Value;

use super::checks::{Read, Unread};
use crate::{commands::objects, kube::call};

const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

pub(super) struct Reader(pub(super) kube::Client);

impl Reader {
    pub(super) async fn get(&self, path: &str) -> Read<Value> {
        parse(&self.text(path).await?)
    }

    /// The metadata of a list's objects.
    pub(super) async fn get_metadata(&self, path: &str) -> Read<Value> {
        let list = self.send(Request::get(path).header(ACCEPT, METADATA), Body::empty()).await?;
        objects::list_of_metadata(list.as_bytes()).map_err(|error| Unread::Failed(error.to_string()))
    }

    pub(super) async fn create(&self, path: &str, object: String) -> Read<Value> {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json");
        parse(&self.send(request, object.into_bytes().into()).await?)
    }

    /// The text of a response.
    pub(super) async fn text(&self, path: &str) -> Read<String> {
        self.send(Request::get(path), Body::empty()).await
    }

    async fn send(&self, request: Builder, body: Body) -> Read<String> {
        let request = request.body(body).map_err(|error| Unread::Failed(error.to_string()))?;
        Ok(call::text(&self.0, request).await?)
    }
}

fn parse(text: &str) -> Read<Value> {
    serde_json::from_str(text).map_err(|error| Unread::Failed(error.to_string()))
}
