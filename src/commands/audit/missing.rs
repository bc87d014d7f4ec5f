//! What a pod lacks, read from the patch of the core's answer.

use json_patch::{AddOperation, Patch, PatchOperation};
use serde::Serialize;
use serde_json::Value;

use super::owner::Owner;
use crate::kube::fields::text;

/// A pod that lacks something.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MissingInjection {
    /// Its namespace.
    #[serde(skip)]
    pub(crate) namespace: String,
    /// Its controller.
    #[serde(skip)]
    pub(crate) owner: Owner,
    /// Its name.
    #[serde(rename = "name")]
    pub(crate) pod: String,
    /// Its account.
    pub(crate) service_account: String,
    /// How much of its identity is missing.
    pub(crate) identity: Identity,
    /// The role of the account; empty if it gives container credentials instead.
    pub(crate) role: String,
    /// The other role that the pod has, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) has: Option<String>,
    /// The containers that lack something.
    pub(crate) containers: Vec<String>,
    /// The missing parts: variables by name and `mount` of containers, `volume` and `label` of the pod.
    pub(crate) lacks: Vec<String>,
}

/// How much of its identity a pod has, from good to bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Identity {
    /// That of a role that is not the account's any more.
    Outdated,
    /// Some of it.
    Partial,
    /// Nothing.
    #[default]
    Missing,
}

impl Identity {
    /// It in one word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Outdated => "outdated",
            Self::Partial => "partial",
            Self::Missing => "missing",
        }
    }
}

impl MissingInjection {
    /// A lack of a pod that is still to be named, by container (empty for the pod itself) and part.
    pub(super) fn new(
        identity: Identity,
        (role, has): (String, Option<String>),
        parts: Vec<(String, String)>,
    ) -> Self {
        let mut missing = Self { identity, role, has, ..Self::default() };
        for (container, part) in parts {
            for (text, list) in [(container, &mut missing.containers), (part, &mut missing.lacks)] {
                if !text.is_empty() && !list.contains(&text) {
                    list.push(text);
                }
            }
        }
        missing
    }
}

/// What a patch would add to a pod: the container (empty for the pod itself), and what.
pub(super) fn read_patch(patch: &Patch, pod: &Value) -> Vec<(String, String)> {
    let added = patch.0.iter().filter_map(|operation| match operation {
        PatchOperation::Add(AddOperation { path, value }) => Some((path.to_string(), value)),
        _ => None,
    });
    added.flat_map(|(path, value)| read_added(&path, value, pod)).collect()
}

fn read_added(path: &str, value: &Value, pod: &Value) -> Vec<(String, String)> {
    if path.starts_with("/metadata/labels") {
        return vec![(String::new(), "label".to_owned())];
    }
    // Of a list that is there, the place within it: its end, or its beginning.
    let is_place = |part: &str| part == "-" || part.bytes().all(|c| c.is_ascii_digit());
    let path = path.rsplit_once('/').filter(|(_, last)| is_place(last)).map_or(path, |(list, _)| list);
    let Some((container, field)) = path.rsplit_once('/') else { return Vec::new() };
    let name = pod.pointer(container).map_or("", |container| text(container, "/name"));
    let part = |added: &Value| match field {
        "volumes" => "volume".to_owned(),
        "volumeMounts" => "mount".to_owned(),
        _ => text(added, "/name").to_owned(),
    };
    // A list that is missing is added whole.
    let added = match value {
        Value::Array(all) => &all[..],
        one => std::slice::from_ref(one),
    };
    added.iter().map(|added| (name.to_owned(), part(added))).collect()
}
