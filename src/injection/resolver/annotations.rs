//! The annotations of a ServiceAccount, as text.

use crate::injection::{
    annotation::{Annotation, Values},
    annotation_keys::{AnnotationKeys, Interest, MAX_SUSPECTS},
    settings::Settings,
    warning::cut,
};

/// The most characters that are kept of a value. Longer ones are reported.
const MAX_KEPT_CHARS: usize = 4097;

/// The annotations that matter of an account without a role. A role that is mapped to it later, or container credentials,
/// are given under their terms.
#[derive(Debug, Default)]
pub struct OwnAnnotations(Vec<(Box<str>, Box<str>)>);

impl OwnAnnotations {
    /// No annotations.
    pub const NONE: Self = Self(Vec::new());

    pub(super) fn pick<'a>(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
        keys: &AnnotationKeys,
    ) -> Self {
        let mut suspects = 0;
        let mut own = Vec::new();
        for (key, value) in annotations {
            match keys.interest(key) {
                Interest::Read => own.push((key.into(), cut(value, MAX_KEPT_CHARS).into())),
                Interest::Suspect if suspects < MAX_SUSPECTS => {
                    suspects += 1;
                    own.push((key.into(), Box::default()));
                }
                Interest::Suspect | Interest::None => {}
            }
        }
        Self(own)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.0.iter().map(|(key, value)| (&**key, &**value))
    }
}

/// The annotations of a ServiceAccount.
#[derive(Default, PartialEq)]
pub(super) struct Annotations<'a> {
    values: Values<'a>,
    /// The keys that look like a mistake, and what is wrong with them.
    pub(super) mistakes: Vec<(&'a str, String)>,
}

impl<'a> Annotations<'a> {
    /// Picks the annotations that are read.
    pub(super) fn pick(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
        settings: &Settings,
        keys: &AnnotationKeys,
    ) -> Self {
        let mut picked = Self::default();
        for (key, value) in annotations {
            match settings.annotation_prefix.strip(key).and_then(Annotation::named) {
                Some(Annotation::SkipContainers) if !settings.compat.rules().account_skip_containers => {}
                Some(annotation @ (Annotation::RoleArn | Annotation::Audience)) => {
                    picked.values.set(annotation, non_empty(value));
                }
                Some(annotation) => picked.values.set(annotation, Some(value)),
                None if picked.mistakes.len() < MAX_SUSPECTS => {
                    picked.mistakes.extend(keys.mistake(key).map(|mistake| (key, mistake)));
                }
                None => {}
            }
        }
        picked
    }

    /// The value of an annotation, if it is there.
    pub(super) fn get(&self, annotation: Annotation) -> Option<&'a str> {
        self.values.get(annotation)
    }

    /// Whether there is nothing beside a role.
    pub(super) fn have_only_a_role(&self) -> bool {
        self.mistakes.is_empty() && self.values.has_only(Annotation::RoleArn)
    }
}

/// A value that is not empty, without the white space around it.
pub(super) fn non_empty(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// Parses the spellings that Go's `strconv.ParseBool` takes, with which the AWS webhook reads the annotation.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
