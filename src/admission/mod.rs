//! The answer to an admission request: bytes and a look-up in, bytes out. No I/O, no waiting, no clock.
//!
//! ```text
//! body ─┬─ Webhook::skim ─▶ Skimmed, whose account is known to have no role ───────────▶ response
//!       └─ Scratch::parse ─▶ tape ─ Webhook::read ─▶ Request ─┬─ Exempt ───────────────▶ response
//!                                                             └─ Pod ─ account looked up ─▶ response
//! ```
//!
//! The response is left in the [`Scratch`].
//!
//! The look-up lies between the two halves, because it may have to wait for the watch and nothing here does.

mod container;
mod delivery;
mod document;
mod env;
mod filter;
mod json;
mod managed_fields;
mod os;
mod outcome;
mod patch;
mod pod;
mod request;
mod response;
mod review;
mod rules;
mod session_name;
mod skim;
mod token_volume;

use std::sync::Arc;

use thiserror::Error;

pub use self::{
    document::{Document, PADDING, Scratch, memory_to_parse},
    outcome::{Operation, Outcome},
    request::{Exempt, PodRequest, Request},
    skim::Skimmed,
};
use self::{
    patch::Patch,
    pod::Pod,
    response::Response,
    review::{Id, Review, Target},
    rules::{Containers, Rendered},
    skim::Needles,
};
use crate::injection::{binding::Account, settings::Settings};

/// The core: answers admission requests under given settings.
#[derive(Debug)]
pub struct Webhook {
    settings: Arc<Settings>,
    rendered: Rendered,
    needles: Needles,
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

impl Webhook {
    /// A core with these settings.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            rendered: Rendered::new(&settings),
            needles: Needles::new(&settings.annotation_prefix),
            settings,
        }
    }

    /// Answers a request of a pod without a role from the bytes of its body alone, where that is possible: most pods
    /// of most clusters. `None` says nothing about the request; it is to be parsed.
    ///
    /// Of a body that Go's JSON encoder wrote and [`read`](Self::read) understands, both ways say the same. One that
    /// only a parser would find to be malformed may be allowed, if its account has no role.
    pub fn skim<'a>(
        &self,
        body: &'a [u8],
        mut look_up: impl FnMut(&str, &str) -> Option<Account>,
        scratch: &mut Scratch,
    ) -> Option<(Skimmed<'a>, Outcome)> {
        let is_unannotated =
            |namespace: &str, name: &str| matches!(look_up(namespace, name), Some(Account::Unannotated));
        let skimmed = self.needles.skim(body, is_unannotated)?;
        Some((skimmed, respond(skimmed.id, &Response::nothing(Outcome::NoRole), scratch)))
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
        let mut pod = Pod::read(object, &self.settings)?;
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
        Ok(Request::Pod(PodRequest { review, pod }))
    }

    /// Allows a request as it is.
    pub fn allow(&self, request: &Exempt<'_>, scratch: &mut Scratch) -> Outcome {
        respond(request.review.id, &Response::nothing(request.outcome), scratch)
    }

    /// Answers for a pod whose ServiceAccount is known.
    pub fn answer(
        &self,
        request: &PodRequest<'_>,
        account: &Account,
        scratch: &mut Scratch,
    ) -> Result<Outcome, BadReview> {
        let PodRequest { review, pod } = request;
        let Some(binding) = account.binding().filter(|binding| binding.gives_identity()) else {
            return Ok(respond(review.id, &Response::nothing(Outcome::NoRole), scratch));
        };
        let containers = match review.target {
            Target::EphemeralContainers => Containers::NewEphemeral { old_pod: review.old_object },
            Target::Pod | Target::OtherOfPod | Target::Other => Containers::All,
        };
        let Scratch { patch, session_name, response, warned, .. } = scratch;
        let settings = (&*self.settings, &self.rendered);
        let injected = rules::inject(settings, pod, containers, binding, session_name, Patch::new(patch))?;
        let said = Response {
            outcome: injected.outcome,
            patch,
            binding: Some(binding),
            has_role: injected.has_role,
            warnings: &injected.warnings,
        };
        *warned = said.render(review.id, response);
        Ok(injected.outcome)
    }

    /// Answers a whole request at once, where accounts can be looked up without waiting: `body` becomes the response.
    /// `None` if the request's account is unknown; the body is spent then, as it is after an error.
    pub fn admit(
        &self,
        body: &mut Vec<u8>,
        scratch: &mut Scratch,
        mut look_up: impl FnMut(&str, &str) -> Option<Account>,
    ) -> Result<Option<Outcome>, BadReview> {
        let outcome = match self.skim(body, &mut look_up, scratch) {
            Some((_, outcome)) => outcome,
            None => match self.parse_and_answer(body, scratch, look_up)? {
                Some(outcome) => outcome,
                None => return Ok(None),
            },
        };
        scratch.take_response(body);
        Ok(Some(outcome))
    }

    fn parse_and_answer(
        &self,
        body: &mut Vec<u8>,
        scratch: &mut Scratch,
        look_up: impl FnOnce(&str, &str) -> Option<Account>,
    ) -> Result<Option<Outcome>, BadReview> {
        let document = scratch.parse(body)?;
        let outcome = match self.read(&document)? {
            Request::Exempt(request) => Some(self.allow(&request, scratch)),
            Request::Pod(request) => match look_up(request.namespace(), request.service_account()) {
                Some(account) => Some(self.answer(&request, &account, scratch)?),
                None => None,
            },
        };
        scratch.recycle(document);
        Ok(outcome)
    }
}

fn first_given<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

fn respond(id: Id<'_>, response: &Response<'_>, scratch: &mut Scratch) -> Outcome {
    scratch.warned = response.render(id, &mut scratch.response);
    response.outcome
}
