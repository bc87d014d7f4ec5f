//! Manifests through the core: every pod and pod template becomes a request, and its patch is applied.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use json_patch::Patch;
use serde_json::Value;

use super::{
    field_types,
    pod_locations::{self, PodLocation},
};
use crate::{
    admission::BadReview,
    commands::offline::{Answer, OfflineAdmission},
    injection::{account::Account, settings::Settings},
    report::printable,
    yaml::{Document, Parsed},
};

/// The result for a document.
pub(super) struct Mutated {
    pub(super) value: Value,
    /// What was added, with paths from the document's root.
    pub(super) patch: Patch,
    /// What the user should know, each with its kind (`warning`, `note`).
    pub(super) messages: Vec<(&'static str, String)>,
    pub(super) kind: Kind,
}

/// The kind of a document.
pub(super) enum Kind {
    Manifest,
    /// An AdmissionReview, with the response as the server would send it.
    Review {
        answer: String,
    },
}

/// The ServiceAccounts that are known.
pub(super) struct Accounts {
    pub(super) known: HashMap<(String, String), Account>,
    /// Where they come from, in words.
    pub(super) origin: String,
    /// Whether pods of other accounts are an error.
    pub(super) is_strict: bool,
}

pub(super) struct Injector {
    admission: OfflineAdmission,
    accounts: Accounts,
    /// The accounts that were reported as unknown.
    reported: HashSet<(String, String)>,
    namespace: String,
}

impl Injector {
    /// `namespace` is that of manifests that name none.
    pub(super) fn new(settings: Arc<Settings>, accounts: Accounts, namespace: String) -> Self {
        Self { admission: OfflineAdmission::new(settings), accounts, reported: HashSet::new(), namespace }
    }

    /// Injects a manifest, or answers an AdmissionReview.
    pub(super) fn mutate(&mut self, document: &Document<'_>, parsed: &Parsed) -> anyhow::Result<Mutated> {
        let mut value = parsed.value.clone();
        let mut messages = Vec::new();
        if value["kind"] == "AdmissionReview" {
            // A recorded request is answered byte for byte as it was sent.
            let body = if parsed.is_json { document.text.into() } else { serde_json::to_vec(&value)? };
            let mut unknown = None;
            let answer = self.admission.review(body, self.accounts.noting(&mut unknown))?;
            let Answer { patch, text, .. } =
                answer.with_context(|| self.accounts.unknown(unknown.as_ref()))?;
            let value = serde_json::from_str(&text)?;
            return Ok(Mutated { value, patch, messages, kind: Kind::Review { answer: text } });
        }
        let mut patch = Patch::default();
        for location in pod_locations::find(&value) {
            patch.0.extend(self.inject(&mut value, &location, &mut messages)?.0);
        }
        Ok(Mutated { value, patch, messages, kind: Kind::Manifest })
    }

    /// Injects one pod or pod template, and returns the patch with paths from the manifest's root.
    fn inject(
        &mut self,
        manifest: &mut Value,
        location: &PodLocation,
        messages: &mut Vec<(&'static str, String)>,
    ) -> anyhow::Result<Patch> {
        let object = manifest.pointer(&location.object).unwrap_or(&Value::Null);
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let namespace = Some(text("namespace")).filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or(&self.namespace).to_owned();
        let [shown_namespace, shown_name] = [&*namespace, text("name")].map(printable);
        let place = format!("{} {shown_namespace}/{shown_name}", location.kind);
        if let Some(wrong) = field_types::wrong_in_metadata(object) {
            bail!("{place}: {wrong}");
        }
        let pod = manifest.pointer_mut(&location.pod).filter(|pod| !pod.is_null());
        let pod = pod.with_context(|| format!("{place}: no pod template"))?;
        if let Some(wrong) = field_types::wrong_in_pod(pod) {
            bail!("{place}: {wrong}");
        }
        let mut created = pod.clone();
        if location.pod != location.object {
            // A controller names its pods itself.
            if let Some(metadata) = created.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("name");
            }
        }
        let mut unknown = None;
        let answer = self.admission.create(&namespace, &created, self.accounts.noting(&mut unknown));
        let Some(answer) = answer.map_err(in_manifest).with_context(|| place.clone())? else {
            self.pass_through(&place, unknown, messages)?;
            return Ok(Patch::default());
        };
        messages
            .extend(answer.warnings.into_iter().map(|warning| ("warning", format!("{place}: {warning}"))));
        json_patch::patch(pod, &answer.patch.0).with_context(|| place.clone())?;
        prefixed(answer.patch, &location.pod)
    }

    /// Reports that an account is unknown, once.
    fn pass_through(
        &mut self,
        place: &str,
        unknown: Option<(String, String)>,
        messages: &mut Vec<(&'static str, String)>,
    ) -> anyhow::Result<()> {
        let message = self.accounts.unknown(unknown.as_ref());
        if self.accounts.is_strict {
            return Err(anyhow!("{place}: {message}"));
        }
        if unknown.is_none_or(|account| self.reported.insert(account)) {
            messages.push(("note", format!("{place} is not changed: {message}")));
        }
        Ok(())
    }
}

impl Accounts {
    /// A look-up that notes an account that is unknown.
    fn noting(&self, unknown: &mut Option<(String, String)>) -> impl FnMut(&str, &str) -> Option<Account> {
        move |namespace, name| {
            let key = (namespace.to_owned(), name.to_owned());
            let account = self.known.get(&key).cloned();
            if account.is_none() {
                *unknown = Some(key);
            }
            account
        }
    }

    fn unknown(&self, account: Option<&(String, String)>) -> String {
        let account = match account {
            Some((namespace, name)) => {
                format!("ServiceAccount {}/{}", printable(namespace), printable(name))
            }
            None => "the pod's ServiceAccount".to_owned(),
        };
        format!("{account} is not in {}; add it there, without a role if it has none", self.origin)
    }
}

/// What is wrong with a pod, in terms of its manifest.
fn in_manifest(error: BadReview) -> anyhow::Error {
    let of_object = |path: &'static str| path.strip_prefix("request.object.").unwrap_or(path);
    match error {
        BadReview::Missing(field) => anyhow!("{} is missing", of_object(field)),
        BadReview::Shape { path, want } => anyhow!("{} is not {want}", of_object(path)),
        other => other.into(),
    }
}

fn prefixed(patch: Patch, prefix: &str) -> anyhow::Result<Patch> {
    let mut operations = serde_json::to_value(patch)?;
    for operation in operations.as_array_mut().into_iter().flatten() {
        let path = format!("{prefix}{}", operation["path"].as_str().unwrap_or_default());
        operation["path"] = path.into();
    }
    Ok(serde_json::from_value(operations)?)
}
