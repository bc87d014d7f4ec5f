//! The annotations of a ServiceAccount, as text.

use crate::injection::settings::Settings;

/// Those that are read here.
#[derive(Default, PartialEq)]
pub(super) struct Annotations<'a> {
    pub(super) role_arn: Option<&'a str>,
    pub(super) audience: Option<&'a str>,
    pub(super) token_expiration: Option<&'a str>,
    pub(super) sts_regional_endpoints: Option<&'a str>,
    pub(super) region: Option<&'a str>,
    pub(super) skip_containers: Option<&'a str>,
    pub(super) include_containers: Option<&'a str>,
}

impl<'a> Annotations<'a> {
    /// Those of the annotations that are read here.
    pub(super) fn pick(
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
        settings: &Settings,
    ) -> Self {
        let mut picked = Self::default();
        for (key, value) in annotations {
            match settings.annotation_prefix.strip(key) {
                Some("role-arn") => picked.role_arn = non_empty(value),
                Some("audience") => picked.audience = non_empty(value),
                Some("token-expiration") => picked.token_expiration = Some(value),
                Some("sts-regional-endpoints") => picked.sts_regional_endpoints = Some(value),
                Some("region") => picked.region = Some(value),
                // The AWS webhook reads it on pods alone.
                Some("skip-containers") if settings.compat.is_aws() => {}
                Some("skip-containers") => picked.skip_containers = Some(value),
                Some("include-containers") => picked.include_containers = Some(value),
                _ => {}
            }
        }
        picked
    }

    /// Whether they say nothing but, perhaps, a role.
    pub(super) fn name_a_role_at_most(&self) -> bool {
        (Self { role_arn: None, ..*self }) == Self::default()
    }
}

/// A value that is not empty, without the white space around it.
pub(super) fn non_empty(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// The spellings that Go's `strconv.ParseBool` takes, since the AWS webhook reads the annotation with it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
