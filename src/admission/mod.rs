//! The answer to an admission request: bytes and a look-up in, bytes out. No I/O, no waiting, no clock.
//!
//! ```text
//! body ─ Scratch::parse ─▶ tape ─ Webhook::read ─▶ Request ─┬─ Exempt ──────────────────▶ Answer
//!                                                            └─ Pod ─ account looked up ─▶ Answer
//! ```
//!
//! The look-up lies between the two halves, because it may have to wait for the watch and nothing here does.

mod container;
mod document;
mod env;
mod filter;
mod json;
mod os;
mod outcome;
mod patch;
mod pod;
mod request;
mod response;
mod review;
mod rules;
mod session_name;
mod token_volume;

use std::sync::Arc;

use simd_json::prelude::*;
use thiserror::Error;

pub use self::{
    document::{Document, PADDING, Scratch},
    outcome::{Operation, Outcome},
    request::{Exempt, PodRequest, Request},
};
use self::{
    patch::Patch,
    pod::Pod,
    response::Response,
    review::{Review, Target},
    rules::{Containers, Rendered},
};
use crate::{binding::Account, settings::Settings};

/// The core: answers admission requests under given settings.
#[derive(Debug)]
pub struct Webhook {
    settings: Arc<Settings>,
    rendered: Rendered,
}

/// Why a body is no AdmissionReview that can be answered.
#[derive(Debug, Error)]
pub enum BadReview {
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// JSON, but of another kind or version.
    #[error("the body is no AdmissionReview of admission.k8s.io/v1 or v1beta1")]
    NoReview,
    /// A field that every request has is missing.
    #[error("the AdmissionReview lacks {0}")]
    Missing(&'static str),
    /// A field has another type than Kubernetes gives it.
    #[error("the AdmissionReview is malformed: {path} is not {want}")]
    Shape {
        /// The field.
        path: &'static str,
        /// What it should be.
        want: &'static str,
    },
    /// So many containers that what they lack does not fit into a patch.
    #[error("the pod has too many containers: what would be injected is larger than a pod can be")]
    TooMuch,
}

/// The answer to a request that was understood.
#[derive(Debug)]
pub struct Answer {
    /// An AdmissionReview in JSON.
    pub body: Vec<u8>,
    /// How it ended.
    pub outcome: Outcome,
}

impl Webhook {
    /// A core with these settings.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { rendered: Rendered::new(&settings), settings }
    }

    /// Reads a request, as far as that is possible without its ServiceAccount.
    pub fn read<'a>(&self, document: &'a Document<'a>) -> Result<Request<'a>, BadReview> {
        let review = Review::read(document.root())?;
        // A pod's environment can't be changed once it is created, nor its volumes.
        if !matches!(
            (review.operation, review.target),
            (Operation::Create, Target::Pod) | (Operation::Update, Target::EphemeralContainers)
        ) {
            return Ok(Request::Exempt(Exempt { review, outcome: Outcome::NotPatchable }));
        }
        let object = review.object.filter(|object| !object.is_null());
        let object = object.ok_or(BadReview::Missing("request.object"))?;
        let mut pod = Pod::read(object, &self.settings.annotation_prefix)?;
        if pod.is_mirror {
            return Ok(Request::Exempt(Exempt { review, outcome: Outcome::MirrorPod }));
        }
        if pod.has_skip_label {
            return Ok(Request::Exempt(Exempt { review, outcome: Outcome::SkipLabel }));
        }
        pod.name = first_given(pod.name, review.name);
        pod.namespace = first_given(review.namespace, pod.namespace);
        if pod.namespace.is_empty() {
            return Err(BadReview::Missing("request.namespace"));
        }
        Ok(Request::Pod(Box::new(PodRequest { review, pod })))
    }

    /// Allows a request as it is.
    pub fn allow(&self, request: &Exempt<'_>) -> Answer {
        respond(&request.review, &Response::nothing(request.outcome))
    }

    /// Answers for a pod whose ServiceAccount is known.
    pub fn answer(
        &self,
        request: &PodRequest<'_>,
        account: &Account,
        scratch: &mut Scratch,
    ) -> Result<Answer, BadReview> {
        let PodRequest { review, pod } = request;
        let Account::Annotated(binding) = account else {
            return Ok(respond(review, &Response::nothing(Outcome::NoRole)));
        };
        let containers = match review.target {
            Target::EphemeralContainers => Containers::NewEphemeral { old_pod: review.old_object },
            Target::Pod | Target::Other => Containers::All,
        };
        let patch = Patch::new(&mut scratch.patch);
        let injected = rules::inject((&self.settings, &self.rendered), pod, containers, binding, patch)?;
        let response = Response {
            outcome: injected.outcome,
            patch: &scratch.patch,
            binding: Some(binding),
            has_role: injected.has_role,
            warnings: &injected.warnings,
        };
        Ok(respond(review, &response))
    }

    /// Answers a whole request at once, where accounts can be looked up without waiting; `None` if the request's
    /// account is unknown.
    pub fn admit(
        &self,
        body: &mut Vec<u8>,
        scratch: &mut Scratch,
        look_up: impl FnOnce(&str, &str) -> Option<Account>,
    ) -> Result<Option<Answer>, BadReview> {
        let document = scratch.parse(body)?;
        let answer = match self.read(&document)? {
            Request::Exempt(request) => Some(self.allow(&request)),
            Request::Pod(request) => match look_up(request.namespace(), request.service_account()) {
                Some(account) => Some(self.answer(&request, &account, scratch)?),
                None => None,
            },
        };
        scratch.recycle(document);
        Ok(answer)
    }
}

fn first_given<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

fn respond(review: &Review<'_>, response: &Response<'_>) -> Answer {
    Answer { body: response.render(review), outcome: response.outcome }
}
