//! The answer to an admission request: bytes and a look-up in, bytes out. No I/O, no waiting, no clock.
//!
//! ```text
//! body ─ Scratch::parse ─▶ tape ─ Webhook::read ─▶ Request ─┬─ Exempt ──────────────────▶ Answer
//!                                                            └─ Pod ─ account looked up ─▶ Answer
//! ```
//!
//! The look-up lies between the two halves, because it may have to wait for the watch and nothing here does.

mod container;
mod env;
mod filter;
mod json;
mod outcome;
mod patch;
mod pod;
mod response;
mod review;
mod rules;
mod session_name;
mod token_volume;

use std::sync::Arc;

use simd_json::{Buffers, INPUT_PADDING, Tape, prelude::*};
use thiserror::Error;

pub use self::outcome::{Operation, Outcome};
use self::{
    patch::Patch,
    pod::Pod,
    response::Response,
    review::{Review, Target},
    rules::{Containers, Rendered},
};
use crate::{binding::Account, settings::Settings};

/// How much room a body should have behind its end, to be parsed where it is.
pub const PADDING: usize = INPUT_PADDING;

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

/// A scratch that has grown beyond this is not worth its memory.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The answer to a request that was understood.
#[derive(Debug)]
pub struct Answer {
    /// An AdmissionReview in JSON.
    pub body: Vec<u8>,
    /// How it ended.
    pub outcome: Outcome,
}

/// A request that was understood.
#[derive(Debug)]
pub enum Request<'a> {
    /// One whose answer no ServiceAccount can change.
    Exempt(Exempt<'a>),
    /// One whose answer depends on the pod's ServiceAccount.
    Pod(Box<PodRequest<'a>>),
}

/// A request that is allowed as it is.
#[derive(Debug)]
pub struct Exempt<'a> {
    review: Review<'a>,
    outcome: Outcome,
}

/// A request for a pod that may be injected.
#[derive(Debug)]
pub struct PodRequest<'a> {
    review: Review<'a>,
    pod: Pod<'a>,
}

/// What one admission works in, to be used again: a warm one saves the parser its allocations.
pub struct Scratch {
    buffers: Buffers,
    tape: Tape<'static>,
    patch: Vec<u8>,
    largest_body: usize,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { buffers: Buffers::default(), tape: Tape(Vec::new()), patch: Vec::new(), largest_body: 0 }
    }
}

/// A parsed body.
#[derive(Debug)]
pub struct Document<'a>(Tape<'a>);

impl Scratch {
    /// Parses `body` in place. Its contents are spent afterwards, whether or not it was JSON.
    pub fn parse<'b>(&mut self, body: &'b mut Vec<u8>) -> Result<Document<'b>, BadReview> {
        let len = body.len();
        self.largest_body = self.largest_body.max(len);
        body.resize(len + PADDING, 0);
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        simd_json::fill_tape_padded(body, len, &mut self.buffers, &mut tape)
            .map_err(|error| BadReview::NotJson(error.to_string()))?;
        Ok(Document(tape))
    }

    /// Whether it should be used again, or has grown too large for that.
    pub fn is_worth_keeping(&self) -> bool {
        self.largest_body <= MAX_KEPT_BYTES && self.patch.capacity() <= MAX_KEPT_BYTES
    }

    /// Takes the tape of a document back.
    pub fn recycle(&mut self, document: Document<'_>) {
        self.tape = document.0.reset();
    }
}

impl Webhook {
    /// A core with these settings.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { rendered: Rendered::new(&settings), settings }
    }

    /// Reads a request, as far as that is possible without its ServiceAccount.
    pub fn read<'a>(&self, document: &'a Document<'a>) -> Result<Request<'a>, BadReview> {
        let mut review = Review::read(document.0.as_value())?;
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
        for (of_request, of_pod) in
            [(&mut review.name, &mut pod.name), (&mut review.namespace, &mut pod.namespace)]
        {
            *of_request = if of_request.is_empty() { of_pod } else { of_request };
            *of_pod = of_request;
        }
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

impl Request<'_> {
    /// What the request wants to do.
    pub fn operation(&self) -> Operation {
        self.review().operation
    }

    /// The request's id, as kube-apiserver's audit log has it.
    pub fn uid(&self) -> &str {
        self.review().uid
    }

    /// The namespace; empty for objects that have none.
    pub fn namespace(&self) -> &str {
        self.review().namespace
    }

    /// The pod's name; empty where it is still to be generated.
    pub fn name(&self) -> &str {
        self.review().name
    }

    fn review(&self) -> &Review<'_> {
        match self {
            Self::Exempt(request) => &request.review,
            Self::Pod(request) => &request.review,
        }
    }
}

impl PodRequest<'_> {
    /// The namespace of the pod and its ServiceAccount.
    pub fn namespace(&self) -> &str {
        self.pod.namespace
    }

    /// The name of the ServiceAccount.
    pub fn service_account(&self) -> &str {
        self.pod.service_account
    }
}

fn respond(review: &Review<'_>, response: &Response<'_>) -> Answer {
    Answer { body: response.render(review), outcome: response.outcome }
}
