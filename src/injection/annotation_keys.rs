//! The keys of annotations: those that are read, and those that look like a misspelled one.

use super::{
    annotation::{Annotation, Place},
    near_miss::{self, KUBE2IAM, SKIP_LABEL},
    settings::{AnnotationPrefix, Settings},
};

/// The longest value of an annotation that is read. Every valid value is much shorter.
pub const MAX_VALUE_BYTES: usize = 16 << 10;

/// How many keys are kept of an account that only look like a mistake.
pub const MAX_SUSPECTS: usize = 8;

/// Whether an annotation matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// It may decide what pods are given.
    Read,
    /// It decides nothing, and may be one of the above, misspelled.
    Suspect,
    /// It belongs to something else.
    None,
}

/// The keys that matter under given settings.
#[derive(Clone, Debug)]
pub struct AnnotationKeys {
    prefix: AnnotationPrefix,
}

impl AnnotationKeys {
    /// The keys that matter under these settings.
    pub fn of(settings: &Settings) -> Self {
        Self { prefix: settings.annotation_prefix.clone() }
    }

    /// Whether an annotation of a ServiceAccount with this key matters.
    pub fn interest(&self, key: &str) -> Interest {
        match self.prefix.strip(key) {
            Some(name) if Annotation::named(name).is_some() => Interest::Read,
            _ if near_miss::meant(key, self.prefix.domain()).is_some() => Interest::Suspect,
            _ => Interest::None,
        }
    }

    /// What is wrong with a key that nothing reads, and looks as if it was meant to be read.
    pub fn mistake(&self, key: &str) -> Option<String> {
        let meant = self.prefix.key(near_miss::meant(key, self.prefix.domain())?.name());
        Some(match key {
            KUBE2IAM => format!("is read by kube2iam and kiam only; the annotation here is {meant}"),
            _ => format!("is ignored; did you mean {meant}?"),
        })
    }

    /// What is wrong with an annotation of a pod; `name` is its key without our prefix.
    pub fn mistake_of_pod(&self, name: &str) -> Option<String> {
        if name == SKIP_LABEL || near_miss::is_skip_label_meant(name) {
            return Some(format!("is ignored; it counts as a label, {}", self.prefix.key(SKIP_LABEL)));
        }
        if Annotation::named(name).is_some_and(|annotation| annotation.place() == Place::Accounts) {
            return Some("is read on ServiceAccounts only; annotate the pod's ServiceAccount".to_owned());
        }
        self.mistake(&self.prefix.key(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> AnnotationKeys {
        AnnotationKeys::of(&Settings::default())
    }

    #[test]
    fn keys_are_read_or_suspected_or_of_something_else() {
        for (key, expected) in [
            ("eks.amazonaws.com/role-arn", Interest::Read),
            ("eks.amazonaws.com/session-name", Interest::Read),
            ("eks.amazonaws.com/role-am", Interest::Suspect),
            ("eks.amazon.com/role-arn", Interest::Suspect),
            ("iam.amazonaws.com/role", Interest::Suspect),
            ("eks.amazonaws.com/compute-type", Interest::None),
            ("example.com/audience", Interest::None),
            ("", Interest::None),
        ] {
            assert_eq!(keys().interest(key), expected, "{key}");
            assert_eq!(keys().mistake(key).is_some(), expected == Interest::Suspect, "{key}");
        }
    }

    #[test]
    fn keys_of_accounts_are_a_mistake_on_pods() {
        for name in ["role-arn", "audience", "sts-regional-endpoints"] {
            assert!(keys().mistake_of_pod(name).unwrap().contains("ServiceAccount"), "{name}");
        }
        assert_eq!(keys().mistake_of_pod("region"), None);
        assert!(keys().mistake_of_pod("skip-container").unwrap().contains("skip-containers"));
        assert!(keys().mistake_of_pod("skip-pod-identity-webhook").unwrap().contains("as a label"));
    }
}
