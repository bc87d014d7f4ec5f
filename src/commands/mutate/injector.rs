//! Manifests through the core: every pod and pod template becomes a request, and its answer's patch is applied.

use std::collections::HashMap;

use anyhow::{Context, bail};
use base64_simd::STANDARD;
use json_patch::Patch;
use serde_json::{Value, json};

use crate::{
    admission::{Buffers, Webhook},
    injection::account::Account,
    report::printable,
    yaml::{Document, Parsed},
};

/// What became of a document.
pub(super) struct Mutated {
    pub(super) value: Value,
    /// What was added, with paths from the document's root.
    pub(super) patch: Patch,
    pub(super) warnings: Vec<String>,
    pub(super) kind: Kind,
}

/// What a document was.
pub(super) enum Kind {
    Manifest,
    /// The text is the answer as the server would send it.
    Review {
        answer: String,
    },
}

pub(super) struct Injector {
    webhook: Webhook,
    buffers: Buffers,
    accounts: HashMap<(String, String), Account>,
    accounts_path: String,
    namespace: String,
}

impl Injector {
    /// An injector that knows these accounts; `accounts_path` says where they are from.
    pub(super) fn new(
        webhook: Webhook,
        accounts: impl Iterator<Item = (String, String, Account)>,
        accounts_path: String,
        namespace: String,
    ) -> Self {
        let accounts = accounts.map(|(namespace, name, account)| ((namespace, name), account));
        Self { webhook, buffers: Buffers::default(), accounts: accounts.collect(), accounts_path, namespace }
    }

    /// Injects a manifest, or answers an AdmissionReview.
    pub(super) fn mutate(&mut self, document: &Document<'_>, parsed: Parsed) -> anyhow::Result<Mutated> {
        let Parsed { mut value, is_json } = parsed;
        let mut warnings = Vec::new();
        if value["kind"] == "AdmissionReview" {
            // A recorded request is answered byte for byte as it was sent.
            let body = if is_json { document.text.into() } else { serde_json::to_vec(&value)? };
            let answer = self.answer(body)?;
            let value: Value = serde_json::from_str(&answer)?;
            let patch = patch_of(&value)?;
            return Ok(Mutated { value, patch, warnings, kind: Kind::Review { answer } });
        }
        let mut patch = Patch::default();
        for pointers in pods(&value) {
            patch.0.extend(self.inject(&mut value, &pointers, &mut warnings)?.0);
        }
        Ok(Mutated { value, patch, warnings, kind: Kind::Manifest })
    }

    /// Injects one pod or pod template of a manifest, and returns the patch with paths from the manifest's root.
    fn inject(
        &mut self,
        manifest: &mut Value,
        pointers: &PodPointers,
        warnings: &mut Vec<String>,
    ) -> anyhow::Result<Patch> {
        let object = manifest.pointer(&pointers.object).unwrap_or(&Value::Null);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or(&self.namespace).to_owned();
        let [shown_namespace, shown_name] = [&*namespace, &name].map(printable);
        let place = || format!("{} {shown_namespace}/{shown_name}", pointers.kind);

        let pod = manifest.pointer_mut(&pointers.pod).filter(|pod| !pod.is_null());
        let pod = pod.with_context(|| format!("{}: no pod template", place()))?;
        let mut object = pod.clone();
        if pointers.pod != pointers.object {
            // A controller names its pods itself.
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("name");
            }
        }
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "mutate",
                "operation": "CREATE",
                "resource": {"group": "", "version": "v1", "resource": "pods"},
                "namespace": namespace,
                "object": object,
            },
        });
        let answer: Value =
            serde_json::from_str(&self.answer(serde_json::to_vec(&review)?).with_context(place)?)?;
        let said = answer["response"]["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
        warnings.extend(said.map(|warning| format!("{}: {warning}", place())));

        let patch = patch_of(&answer)?;
        json_patch::patch(pod, &patch.0).with_context(place)?;
        prefixed(patch, &pointers.pod)
    }

    /// The core's answer to an AdmissionReview.
    fn answer(&mut self, mut body: Vec<u8>) -> anyhow::Result<String> {
        let mut unknown = None;
        let look_up = |namespace: &str, name: &str| {
            let key = (namespace.to_owned(), name.to_owned());
            let account = self.accounts.get(&key).cloned();
            if account.is_none() {
                unknown = Some(key);
            }
            account
        };
        let outcome = self.webhook.admit(&mut body, &mut self.buffers, look_up)?;
        match (outcome, unknown) {
            (Some(_), _) => Ok(String::from_utf8(body)?),
            (None, unknown) => {
                let (namespace, name) = unknown.unwrap_or_default();
                bail!(
                    "ServiceAccount {}/{} is not in {}; add it there, without a role if it has none",
                    printable(&namespace),
                    printable(&name),
                    self.accounts_path
                )
            }
        }
    }
}

/// Where a pod is within a document.
struct PodPointers {
    /// What the pod belongs to, for messages.
    kind: String,
    /// The object that is applied.
    object: String,
    /// The pod or pod template in it.
    pod: String,
}

/// Finds the pods and pod templates of a document.
fn pods(document: &Value) -> Vec<PodPointers> {
    let text = |key: &str| document[key].as_str().unwrap_or_default();
    pods_of(document, text("apiVersion"), text("kind"), "")
}

/// The pods of an object at the pointer `object`, whose kind may stand in the list that holds it.
fn pods_of(value: &Value, api_version: &str, kind: &str, object: &str) -> Vec<PodPointers> {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let pod = match (group, kind) {
        ("", "Pod") => "",
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            "/spec/template"
        }
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        (_, list) => {
            // A plain List holds objects that say what they are, a typed one (PodList) says it for them.
            let Some(kind_of_items) = list.strip_suffix("List") else { return Vec::new() };
            let items = value["items"].as_array().into_iter().flatten().enumerate();
            let pods = items.flat_map(|(index, item)| {
                let api_version = item["apiVersion"].as_str().unwrap_or(api_version);
                let kind = item["kind"].as_str().unwrap_or(kind_of_items);
                pods_of(item, api_version, kind, &format!("{object}/items/{index}"))
            });
            return pods.collect();
        }
    };
    vec![PodPointers { kind: kind.to_owned(), object: object.to_owned(), pod: format!("{object}{pod}") }]
}

fn patch_of(answer: &Value) -> anyhow::Result<Patch> {
    match answer["response"]["patch"].as_str() {
        None => Ok(Patch::default()),
        Some(encoded) => Ok(serde_json::from_slice(&STANDARD.decode_to_vec(encoded)?)?),
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
