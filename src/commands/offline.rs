//! The admission core without a server, for pods that are treated as if they were created now.

use std::sync::Arc;

use base64_simd::STANDARD;
use json_patch::Patch;
use serde_json::{Value, json};

use crate::{
    admission::{BadReview, Buffers, Outcome, Webhook},
    injection::{account::Account, settings::Settings},
};

/// A core and its buffers.
pub(super) struct OfflineAdmission {
    webhook: Webhook,
    buffers: Buffers,
}

/// The response to a request.
pub(super) struct Answer {
    pub(super) outcome: Outcome,
    /// Paths begin at the object of the request.
    pub(super) patch: Patch,
    pub(super) warnings: Vec<String>,
    /// The AdmissionReview as the server would send it.
    pub(super) text: String,
}

impl OfflineAdmission {
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self { webhook: Webhook::new(settings), buffers: Buffers::default() }
    }

    /// The response to the creation of a pod; `None` if its account is unknown.
    pub(super) fn create(
        &mut self,
        namespace: &str,
        pod: &Value,
        look_up: impl FnMut(&str, &str) -> Option<Account>,
    ) -> Result<Option<Answer>, BadReview> {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "offline",
                "operation": "CREATE",
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": namespace,
                "object": pod,
            },
        });
        self.review(review.to_string().into_bytes(), look_up)
    }

    /// The response to an AdmissionReview; `None` if its account is unknown.
    pub(super) fn review(
        &mut self,
        mut body: Vec<u8>,
        look_up: impl FnMut(&str, &str) -> Option<Account>,
    ) -> Result<Option<Answer>, BadReview> {
        let outcome = self.webhook.admit(&mut body, &mut self.buffers, look_up)?;
        outcome.map(|outcome| Answer::read(outcome, body).map_err(BadReview::NotJson)).transpose()
    }
}

impl Answer {
    fn read(outcome: Outcome, body: Vec<u8>) -> Result<Self, String> {
        let text = String::from_utf8(body).map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let response = &value["response"];
        let patch = match response["patch"].as_str() {
            None => Patch::default(),
            Some(encoded) => {
                let patch = STANDARD.decode_to_vec(encoded).map_err(|error| error.to_string())?;
                serde_json::from_slice(&patch).map_err(|error| error.to_string())?
            }
        };
        let warnings = response["warnings"].as_array().into_iter().flatten();
        let warnings = warnings.filter_map(|warning| Some(warning.as_str()?.to_owned())).collect();
        Ok(Self { outcome, patch, warnings, text })
    }
}
