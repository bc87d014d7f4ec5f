//! A request as far as it can be understood without its ServiceAccount.

use super::{
    Operation, Outcome,
    pod::Pod,
    review::{Review, Target},
};

/// A request that was understood.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, and a box would be an allocation for each"
)]
pub enum Request<'a> {
    /// One whose answer no ServiceAccount can change.
    Exempt(Exempt<'a>),
    /// One whose answer depends on the pod's ServiceAccount.
    Pod(PodRequest<'a>),
}

/// A request that is allowed as it is.
#[derive(Debug)]
pub struct Exempt<'a> {
    pub(super) review: Review<'a>,
    pub(super) outcome: Outcome,
}

/// A request for a pod that may be injected.
#[derive(Debug)]
pub struct PodRequest<'a> {
    pub(super) review: Review<'a>,
    pub(super) pod: Pod<'a>,
}

impl Request<'_> {
    /// The operation.
    pub fn operation(&self) -> Operation {
        self.review().operation
    }

    /// Whether the object is a pod.
    pub fn is_for_pod(&self) -> bool {
        self.review().target != Target::Other
    }

    /// The request's id, as kube-apiserver's audit log has it.
    pub fn uid(&self) -> &str {
        self.review().id.uid
    }

    /// The namespace; empty for objects that have none.
    pub fn namespace(&self) -> &str {
        match self {
            Self::Exempt(request) => request.review.namespace,
            Self::Pod(request) => request.pod.namespace,
        }
    }

    /// The pod's name; empty where it is still to be generated.
    pub fn name(&self) -> &str {
        match self {
            Self::Exempt(request) => request.review.name,
            Self::Pod(request) => request.pod.name,
        }
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
