//! The request as kube-apiserver sent it: a borrowed view of an AdmissionReview.

use super::{
    BadReview, Operation,
    json::{self, Value},
};

/// An AdmissionReview, `admission.k8s.io/v1` or `v1beta1`.
#[derive(Debug)]
pub(super) struct Review<'a> {
    pub(super) id: Id<'a>,
    pub(super) operation: Operation,
    pub(super) target: Target,
    /// The pod's name; empty where the API server is still to generate it.
    pub(super) name: &'a str,
    pub(super) namespace: &'a str,
    pub(super) object: Option<Value<'a>>,
    pub(super) old_object: Option<Value<'a>>,
}

/// The parts of a request that its answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id<'a> {
    pub(super) api_version: &'a str,
    pub(super) uid: &'a str,
}

impl Id<'_> {
    /// Whether this is a version of AdmissionReview that can be answered.
    pub(super) fn is_api_version(text: &str) -> bool {
        matches!(text, "admission.k8s.io/v1" | "admission.k8s.io/v1beta1")
    }
}

/// The object of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// `pods`
    Pod,
    /// `pods/ephemeralcontainers`
    EphemeralContainers,
    /// Another subresource of `pods`.
    OtherOfPod,
    /// Another resource.
    Other,
}

impl<'a> Review<'a> {
    /// Reads the document's root.
    pub(super) fn read(root: Value<'a>) -> Result<Self, BadReview> {
        let (mut api_version, mut kind, mut request) = ("", "", None);
        for (key, value) in json::fields(root, "the body")? {
            match key {
                "apiVersion" => api_version = json::string(value, "apiVersion")?,
                "kind" => kind = json::string(value, "kind")?,
                "request" => request = Some(value),
                _ => {}
            }
        }
        if kind != "AdmissionReview" || !Id::is_api_version(api_version) {
            return Err(BadReview::NoReview);
        }
        Self::read_request(api_version, request.ok_or(BadReview::Missing("request"))?)
    }

    fn read_request(api_version: &'a str, request: Value<'a>) -> Result<Self, BadReview> {
        let (mut uid, mut operation, mut resource, mut subresource) = ("", "", None, "");
        let (mut name, mut namespace, mut object, mut old_object) = ("", "", None, None);
        for (key, value) in json::fields(request, "request")? {
            match key {
                "uid" => uid = json::string(value, "request.uid")?,
                "operation" => operation = json::string(value, "request.operation")?,
                "resource" => resource = Some(value),
                "subResource" => subresource = json::string(value, "request.subResource")?,
                "name" => name = json::string(value, "request.name")?,
                "namespace" => namespace = json::string(value, "request.namespace")?,
                "object" => object = Some(value),
                "oldObject" => old_object = Some(value),
                _ => {}
            }
        }
        if uid.is_empty() {
            return Err(BadReview::Missing("request.uid"));
        }
        let resource = resource.ok_or(BadReview::Missing("request.resource"))?;
        Ok(Self {
            id: Id { api_version, uid },
            operation: read_operation(operation)?,
            target: read_target(resource, subresource)?,
            name,
            namespace,
            object,
            old_object,
        })
    }
}

fn read_operation(text: &str) -> Result<Operation, BadReview> {
    match text {
        "CREATE" => Ok(Operation::Create),
        "UPDATE" => Ok(Operation::Update),
        "DELETE" => Ok(Operation::Delete),
        "CONNECT" => Ok(Operation::Connect),
        _ => Err(BadReview::Shape { path: "request.operation", want: "CREATE, UPDATE, DELETE or CONNECT" }),
    }
}

fn read_target(resource: Value<'_>, subresource: &str) -> Result<Target, BadReview> {
    let (mut group, mut name) = ("", "");
    for (key, value) in json::fields(resource, "request.resource")? {
        match key {
            "group" => group = json::string(value, "request.resource.group")?,
            "resource" => name = json::string(value, "request.resource.resource")?,
            _ => {}
        }
    }
    Ok(match (group, name, subresource) {
        (_, "", _) => return Err(BadReview::Missing("request.resource.resource")),
        ("", "pods", "") => Target::Pod,
        ("", "pods", "ephemeralcontainers") => Target::EphemeralContainers,
        ("", "pods", _) => Target::OtherOfPod,
        _ => Target::Other,
    })
}
