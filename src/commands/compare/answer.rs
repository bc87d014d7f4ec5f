//! What a webhook says to a review, as kube-apiserver understands it.

use anyhow::{Context, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::StatusCode;
use json_patch::Patch;
use serde_json::{Value, json};

use super::{client::Reply, review::Review};
use crate::warning::quote;

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Answer {
    /// It goes on with this object, the patch applied; none where something is deleted.
    Allowed(Option<Value>),
    /// It ends with this `code` and `message`.
    Denied(Value),
    /// The webhook's `failurePolicy` decides.
    Failed(String),
}

impl Answer {
    /// Reads a reply to this review.
    pub(super) fn of(review: &Review, reply: anyhow::Result<Reply>) -> Self {
        let answer = reply.and_then(|reply| read(review, &reply));
        answer.unwrap_or_else(|error| Self::Failed(format!("{error:#}")))
    }

    /// The answer without the object.
    pub(super) fn summary(&self) -> Value {
        match self {
            Self::Allowed(_) => json!({"allowed": true}),
            Self::Denied(status) => json!({"allowed": false, "status": status}),
            Self::Failed(error) => json!({"error": error}),
        }
    }
}

fn read(review: &Review, reply: &Reply) -> anyhow::Result<Answer> {
    if reply.status != StatusCode::OK {
        bail!("HTTP status {}: {}", reply.status, quote(String::from_utf8_lossy(&reply.body).trim()));
    }
    let answer: Value = serde_json::from_slice(&reply.body).context("the body is not JSON")?;
    let response = &answer["response"];
    ensure!(response.is_object(), "no response in the body");
    let patch = patch(response)?;
    if review.api_version == "admission.k8s.io/v1" {
        verify(review, &answer, patch.is_some())?;
    }
    if response["allowed"] != true {
        let status = &response["status"];
        return Ok(Answer::Denied(json!({"code": status["code"], "message": status["message"]})));
    }
    let mut object = review.object.clone();
    if let Some(patch) = patch {
        let object = object.as_mut().context("a patch, and no object to patch in the request")?;
        json_patch::patch(object, &patch).context("the patch does not apply")?;
    }
    Ok(Answer::Allowed(object))
}

/// What v1 asks of an answer, and v1beta1 does not (`VerifyAdmissionResponse`,
/// `apiserver/pkg/admission/plugin/webhook/request/admissionreview.go`).
fn verify(review: &Review, answer: &Value, has_patch: bool) -> anyhow::Result<()> {
    let (kind, api_version) = (&answer["kind"], &answer["apiVersion"]);
    ensure!(
        kind == "AdmissionReview" && *api_version == *review.api_version,
        "an answer of kind {kind}, apiVersion {api_version}"
    );
    let (uid, patch_type) = (&answer["response"]["uid"], &answer["response"]["patchType"]);
    ensure!(*uid == *review.uid, "response.uid {uid} is not the request's");
    let expected = if has_patch { json!("JSONPatch") } else { Value::Null };
    ensure!(*patch_type == expected, "response.patchType is {patch_type}, and should be {expected}");
    Ok(())
}

fn patch(response: &Value) -> anyhow::Result<Option<Patch>> {
    let encoded = match &response["patch"] {
        Value::Null => return Ok(None),
        patch => patch.as_str().context("response.patch is no string")?,
    };
    if encoded.is_empty() {
        return Ok(None);
    }
    let decoded = STANDARD.decode(encoded).context("response.patch is not base64")?;
    serde_json::from_slice(&decoded).context("response.patch is no JSON Patch").map(Some)
}
