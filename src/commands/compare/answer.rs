//! What a webhook says to a review, as kube-apiserver understands it.

use anyhow::{Context, bail, ensure};
use base64_simd::STANDARD;
use hyper::StatusCode;
use json_patch::Patch;
use serde_json::{Value, json};

use super::{connection::Reply, review::Review};
use crate::injection::warning::quote;

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
        patch => patch.as_str().context("response.patch is not a string")?,
    };
    if encoded.is_empty() {
        return Ok(None);
    }
    let decoded = STANDARD.decode_to_vec(encoded).context("response.patch is not base64")?;
    serde_json::from_slice(&decoded).context("response.patch is not a JSON Patch").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn review(api_version: &str, object: Option<Value>) -> Review {
        let (name, body) = ("review.json".to_owned(), Vec::new().into());
        Review { name, body, api_version: api_version.to_owned(), uid: "u".to_owned(), object }
    }

    fn answer(review: &Review, body: &Value) -> Answer {
        Answer::of(review, Ok(Reply { status: StatusCode::OK, body: body.to_string().into() }))
    }

    /// What a v1 webhook says, with these fields of its response changed.
    fn said(fields: Value) -> Value {
        let mut answer = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
            "response": {"uid": "u", "allowed": true}});
        for (key, value) in fields.as_object().unwrap() {
            answer["response"][key] = value.clone();
        }
        answer
    }

    fn patch(operations: Value) -> Value {
        json!({"patchType": "JSONPatch", "patch": STANDARD.encode_to_string(operations.to_string())})
    }

    #[test]
    fn patches_are_applied_and_refusals_read() {
        let pod = review("admission.k8s.io/v1", Some(json!({"a": [1]})));
        let add = patch(json!([{"op": "add", "path": "/a/-", "value": 2}]));
        assert_eq!(answer(&pod, &said(add.clone())), Answer::Allowed(Some(json!({"a": [1, 2]}))));
        assert_eq!(answer(&pod, &said(json!({"patch": ""}))), Answer::Allowed(pod.object.clone()));
        assert_eq!(answer(&review("admission.k8s.io/v1", None), &said(json!({}))), Answer::Allowed(None));

        let status = json!({"code": 403, "message": "no", "metadata": {}});
        let denied = Answer::Denied(json!({"code": 403, "message": "no"}));
        assert_eq!(answer(&pod, &said(json!({"allowed": false, "status": status}))), denied);

        // v1beta1 asks for neither uid nor patchType.
        let beta = review("admission.k8s.io/v1beta1", pod.object.clone());
        let body = json!({"response": {"allowed": true, "patch": add["patch"]}});
        assert_eq!(answer(&beta, &body), Answer::Allowed(Some(json!({"a": [1, 2]}))));
    }

    #[test]
    fn answers_that_kube_apiserver_rejects_are_failures() {
        let pod = review("admission.k8s.io/v1", Some(json!({"a": [1]})));
        let deleted = review("admission.k8s.io/v1", None);
        let add = patch(json!([{"op": "add", "path": "/a/-", "value": 2}]));
        for (review, body, error) in [
            (&pod, json!([]), "no response in the body"),
            (&pod, said(json!({"uid": "other"})), "response.uid \"other\" is not the request's"),
            (&pod, json!({"response": {"uid": "u"}}), "an answer of kind null, apiVersion null"),
            (&pod, said(json!({"patch": add["patch"]})), "response.patchType is null"),
            (&pod, said(json!({"patchType": "JSONPatch"})), "response.patchType is \"JSONPatch\""),
            (&pod, said(json!({"patch": 1})), "response.patch is not a string"),
            (&pod, said(json!({"patch": "?"})), "response.patch is not base64"),
            (&pod, said(patch(json!({}))), "response.patch is not a JSON Patch"),
            (&pod, said(patch(json!([{"op": "remove", "path": "/b"}]))), "the patch does not apply"),
            (&deleted, said(add.clone()), "a patch, and no object to patch"),
        ] {
            let Answer::Failed(message) = answer(review, &body) else { panic!("{body} is taken") };
            assert!(message.contains(error), "{body}: {message}");
        }
        let reply = |status: u16, body: &'static [u8]| {
            Ok(Reply { status: StatusCode::from_u16(status).unwrap(), body: body.into() })
        };
        for (reply, error) in [
            (reply(503, b"not yet\n"), "HTTP status 503 Service Unavailable: \"not yet\""),
            (reply(200, b"<html>"), "the body is not JSON"),
            (Err(anyhow::anyhow!("broken pipe")), "broken pipe"),
        ] {
            let Answer::Failed(message) = Answer::of(&pod, reply) else { panic!("{error}") };
            assert!(message.contains(error), "{message}");
        }
    }
}
