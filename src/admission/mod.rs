//! The answer to an admission request: bytes and a look-up in, bytes out. No I/O, no waiting, no clock.
//!
//! ```text
//! body ─┬─ Webhook::fast_path ─▶ FastRequest, whose account is known to have no role ──────▶ response
//!       └─ Buffers::parse ─▶ tape ─ Webhook::read ─▶ Request ─ Webhook::answer ─┬──────────▶ response
//!                                                                               └─ account unknown
//! ```
//!
//! The response is left in the [`Buffers`]. Where the account is unknown, the caller may wait for the watch, and then calls
//! [`Webhook::answer_pod`]. [`Webhook::admit`] takes these steps in one call for callers that do not wait.

mod container;
mod credentials;
mod document;
mod env;
mod fast_path;
mod filter;
mod json;
mod managed_fields;
mod mount;
mod os;
mod outcome;
mod patch;
mod pod;
mod pod_warnings;
mod request;
mod response;
mod review;
mod rules;
mod session_name;
mod token_volume;

use std::sync::Arc;

use thiserror::Error;

use self::{
    credentials::Modes,
    fast_path::Patterns,
    patch::Patch,
    pod::Pod,
    response::Response,
    review::{Id, Review, Target},
    rules::{Configured, Containers},
};
pub use self::{
    document::{Buffers, Document, PADDING, memory_to_parse},
    fast_path::FastRequest,
    outcome::{Operation, Outcome},
    request::{Exempt, PodRequest, Request},
    rules::MAX_PATCH_BYTES,
};
use crate::injection::{
    account::Account, annotation_keys::AnnotationKeys, settings::Settings, warning::WarningKind,
};

/// The core: answers admission requests under given settings.
#[derive(Debug)]
pub struct Webhook {
    settings: Arc<Settings>,
    modes: Modes,
    keys: AnnotationKeys,
    patterns: Patterns,
}

/// The result of [`Webhook::answer`].
#[derive(Debug)]
pub enum Answer<'r, 'a> {
    /// The response is in the buffers.
    Rendered(Outcome),
    /// The account of this pod is unknown. Once it is known, [`Webhook::answer_pod`] answers.
    AccountUnknown(&'r PodRequest<'a>),
}

/// Why a body is not an AdmissionReview that can be answered.
#[derive(Debug, Error)]
pub enum BadReview {
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// JSON, but of another kind or version.
    #[error("the body is not an AdmissionReview of admission.k8s.io/v1 or v1beta1")]
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
            modes: Modes::new(&settings),
            keys: AnnotationKeys::of(&settings),
            patterns: Patterns::new(&settings.annotation_prefix),
            settings,
        }
    }

    /// Answers a request of a pod without a role from the bytes of its body alone, where that is possible: most pods
    /// of most clusters. `None` says nothing about the request; it is to be parsed.
    ///
    /// Of a body that Go's JSON encoder wrote and [`read`](Self::read) understands, both ways say the same. One that
    /// only a parser would find to be malformed may be allowed, if its account has no role.
    pub fn fast_path<'a>(
        &self,
        body: &'a [u8],
        mut look_up: impl FnMut(&str, &str) -> Option<Account>,
        buffers: &mut Buffers,
    ) -> Option<(FastRequest<'a>, Outcome)> {
        let is_given_nothing =
            |namespace: &str, name: &str| matches!(look_up(namespace, name), Some(Account::Nothing));
        let request = self.patterns.fast_path(body, is_given_nothing)?;
        Some((request, respond(request.id, &Response::nothing(Outcome::NoRole), buffers)))
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

    /// Answers a request, unless its account is unknown.
    pub fn answer<'r, 'a>(
        &self,
        request: &'r Request<'a>,
        look_up: impl FnOnce(&str, &str) -> Option<Account>,
        buffers: &mut Buffers,
    ) -> Result<Answer<'r, 'a>, BadReview> {
        let outcome = match request {
            Request::Exempt(exempt) => respond(exempt.review.id, &Response::nothing(exempt.outcome), buffers),
            Request::Pod(pod) => match look_up(pod.namespace(), pod.service_account()) {
                Some(account) => self.answer_pod(pod, &account, buffers)?,
                None => return Ok(Answer::AccountUnknown(pod)),
            },
        };
        Ok(Answer::Rendered(outcome))
    }

    /// Answers for a pod whose ServiceAccount is known.
    pub fn answer_pod(
        &self,
        request: &PodRequest<'_>,
        account: &Account,
        buffers: &mut Buffers,
    ) -> Result<Outcome, BadReview> {
        let PodRequest { review, pod } = request;
        let Account::Granted(grant) = account else {
            let mut of_pod = Vec::new();
            pod_warnings::of_unread_keys(&self.settings, &self.keys, pod, &mut of_pod);
            pod_warnings::of_kube2iam(&self.keys, pod, &mut of_pod);
            let warnings = [account.warnings(), &of_pod];
            return Ok(respond(
                review.id,
                &Response { warnings, ..Response::nothing(Outcome::NoRole) },
                buffers,
            ));
        };
        let containers = match review.target {
            Target::EphemeralContainers => Containers::NewEphemeral { old_pod: review.old_object },
            Target::Pod | Target::OtherOfPod | Target::Other => Containers::All,
        };
        let Buffers { patch, session_name, response, warned, .. } = buffers;
        let configured = Configured { settings: &self.settings, keys: &self.keys, modes: &self.modes };
        let injected = rules::inject(configured, pod, containers, grant, session_name, Patch::new(patch))?;
        let not_of_region: Vec<_>;
        let of_account: &[_] = match injected.outcome {
            Outcome::NoContainer | Outcome::NoVolume => &[],
            _ if injected.region_is_of_pod => {
                let others =
                    account.warnings().iter().filter(|warning| warning.kind() != WarningKind::Region);
                not_of_region = others.cloned().collect();
                &not_of_region
            }
            _ => account.warnings(),
        };
        let said = Response {
            outcome: injected.outcome,
            patch,
            grant: Some(grant),
            has_role: injected.has_role,
            warnings: [of_account, &injected.warnings],
        };
        *warned = said.render(review.id, response);
        Ok(injected.outcome)
    }

    /// Answers a whole request at once, where accounts can be looked up without waiting: `body` becomes the response.
    /// `None` if the request's account is unknown; the body is spent then, as it is after an error.
    pub fn admit(
        &self,
        body: &mut Vec<u8>,
        buffers: &mut Buffers,
        mut look_up: impl FnMut(&str, &str) -> Option<Account>,
    ) -> Result<Option<Outcome>, BadReview> {
        let outcome = match self.fast_path(body, &mut look_up, buffers) {
            Some((_, outcome)) => outcome,
            None => match self.parse_and_answer(body, buffers, look_up)? {
                Some(outcome) => outcome,
                None => return Ok(None),
            },
        };
        buffers.take_response(body);
        Ok(Some(outcome))
    }

    fn parse_and_answer(
        &self,
        body: &mut Vec<u8>,
        buffers: &mut Buffers,
        look_up: impl FnOnce(&str, &str) -> Option<Account>,
    ) -> Result<Option<Outcome>, BadReview> {
        let document = buffers.parse(body)?;
        let outcome = match self.answer(&self.read(&document)?, look_up, buffers)? {
            Answer::Rendered(outcome) => Some(outcome),
            Answer::AccountUnknown(_) => None,
        };
        buffers.recycle(document);
        Ok(outcome)
    }
}

fn first_given<'a>(first: &'a str, second: &'a str) -> &'a str {
    if first.is_empty() { second } else { first }
}

fn respond(id: Id<'_>, response: &Response<'_>, buffers: &mut Buffers) -> Outcome {
    buffers.warned = response.render(id, &mut buffers.response);
    response.outcome
}
