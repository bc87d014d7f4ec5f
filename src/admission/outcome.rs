//! How an admission ends: the one list that metrics, logs, audit annotations and tests share.

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `CREATE`
    Create,
    /// `UPDATE`
    Update,
    /// `DELETE`
    Delete,
    /// `CONNECT`
    Connect,
    /// Not known, since the request could not be read.
    Unknown,
}

impl Operation {
    /// Every operation, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Create, Self::Update, Self::Delete, Self::Connect, Self::Unknown];

    /// The operation as kube-apiserver spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Unknown => "unknown",
        }
    }
}

/// How an admission ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The pod was given its role.
    Injected,
    /// The pod was given container credentials.
    ContainerCredentials,
    /// The pod already has all that would be injected.
    AlreadyInjected,
    /// The ServiceAccount names no role.
    NoRole,
    /// The pod carries the skip label.
    SkipLabel,
    /// A mirror pod of a node's static pod.
    MirrorPod,
    /// An operation, resource or subresource whose pods can't be changed.
    NotPatchable,
    /// Annotations or conflicting mounts leave every container alone.
    NoContainer,
    /// An ephemeral container for a pod without the token volume, which can't be added any more.
    NoVolume,
    /// The watch has not shown the ServiceAccount; answered with 503.
    UnknownAccount,
    /// The cache has never been filled; answered with 503.
    NotSynced,
    /// There was no memory left to read the request; answered with 503.
    NoMemory,
    /// The answer was broken off: the caller went away while its ServiceAccount was waited for.
    Abandoned,
    /// The request is not a valid AdmissionReview; answered with 400.
    BadReview,
}

impl Outcome {
    /// Every outcome, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Injected,
        Self::ContainerCredentials,
        Self::AlreadyInjected,
        Self::NoRole,
        Self::SkipLabel,
        Self::MirrorPod,
        Self::NotPatchable,
        Self::NoContainer,
        Self::NoVolume,
        Self::UnknownAccount,
        Self::NotSynced,
        Self::NoMemory,
        Self::Abandoned,
        Self::BadReview,
    ];

    /// The outcome in one word: what the pod got.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Injected | Self::ContainerCredentials => "injected",
            Self::AlreadyInjected => "unchanged",
            Self::NoRole
            | Self::SkipLabel
            | Self::MirrorPod
            | Self::NotPatchable
            | Self::NoContainer
            | Self::NoVolume => "skipped",
            Self::UnknownAccount | Self::NotSynced | Self::NoMemory | Self::Abandoned => "unavailable",
            Self::BadReview => "invalid",
        }
    }

    /// Why it got that.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Injected => "role",
            Self::ContainerCredentials => "container_credentials",
            Self::AlreadyInjected => "already_injected",
            Self::NoRole => "no_role",
            Self::SkipLabel => "skip_label",
            Self::MirrorPod => "mirror_pod",
            Self::NotPatchable => "not_patchable",
            Self::NoContainer => "no_container",
            Self::NoVolume => "no_volume",
            Self::UnknownAccount => "unknown_account",
            Self::NotSynced => "not_synced",
            Self::NoMemory => "no_memory",
            Self::Abandoned => "abandoned",
            Self::BadReview => "bad_review",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_in_the_order_of_the_numbers() {
        assert!(Operation::ALL.iter().enumerate().all(|(index, &operation)| operation as usize == index));
        assert!(Outcome::ALL.iter().enumerate().all(|(index, &outcome)| outcome as usize == index));
    }
}
