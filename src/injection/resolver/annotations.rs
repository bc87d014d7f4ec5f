//! The annotations of a ServiceAccount, as text.

use crate::injection::{
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

/// The annotations that are read here.
#[derive(Default, PartialEq)]
pub(super) struct Annotations<'a> {
    pub(super) role_arn: Option<&'a str>,
    pub(super) audience: Option<&'a str>,
    pub(super) token_expiration: Option<&'a str>,
    pub(super) sts_regional_endpoints: Option<&'a str>,
    pub(super) region: Option<&'a str>,
    pub(super) session_name: Option<&'a str>,
    pub(super) skip_containers: Option<&'a str>,
    pub(super) include_containers: Option<&'a str>,
    /// The keys that look like a mistake, and what is wrong with them.
    pub(super) mistakes: Vec<(&'a str, String)>,
}

impl<'a> Annotations<'a> {
    /// Picks the annotations that are read here.
    pub(super) fn pick(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
        settings: &Settings,
        keys: &AnnotationKeys,
    ) -> Self {
        let mut picked = Self::default();
        for (key, value) in annotations {
            match settings.annotation_prefix.strip(key) {
                Some("role-arn") => picked.role_arn = non_empty(value),
                Some("audience") => picked.audience = non_empty(value),
                Some("token-expiration") => picked.token_expiration = Some(value),
                Some("sts-regional-endpoints") => picked.sts_regional_endpoints = Some(value),
                Some("region") => picked.region = Some(value),
                Some("session-name") => picked.session_name = Some(value),
                Some("skip-containers") if !settings.compat.rules().account_skip_containers => {}
                Some("skip-containers") => picked.skip_containers = Some(value),
                Some("include-containers") => picked.include_containers = Some(value),
                _ if picked.mistakes.len() < MAX_SUSPECTS => {
                    picked.mistakes.extend(keys.mistake(key).map(|mistake| (key, mistake)));
                }
                _ => {}
            }
        }
        picked
    }

    /// Whether there is nothing beside a role.
    pub(super) fn have_only_a_role(&self) -> bool {
        let Self {
            role_arn: _,
            audience: None,
            token_expiration: None,
            sts_regional_endpoints: None,
            region: None,
            session_name: None,
            skip_containers: None,
            include_containers: None,
            mistakes,
        } = self
        else {
            return false;
        };
        mistakes.is_empty()
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
