//! `mutate`: the core without a cluster, for manifests in a pipeline and for recorded requests.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, anyhow, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::Patch;
use serde_json::{Value, json};

use crate::{
    accounts::{
        binding::{Account, Binder},
        manifests::{self, Declared},
    },
    admission::{Scratch, Webhook},
    cli::{MutateArgs, Output},
    yaml::{self, Document},
};

/// Reads, injects and prints. Nothing is printed unless everything could be read and answered.
pub fn run(args: MutateArgs) -> anyhow::Result<()> {
    let settings = Arc::new(args.injection.into_settings());
    let binder = Binder::new(Arc::clone(&settings));
    let accounts = manifests::load(&args.service_accounts, &binder).context("--service-accounts")?;
    let (file, text) = read(&args.file)?;

    let mut mutator = Mutator {
        webhook: Webhook::new(settings),
        scratch: Scratch::default(),
        accounts: accounts
            .into_iter()
            .map(|Declared { namespace, name, account }| ((namespace, name), account))
            .collect(),
        accounts_path: args.service_accounts.display().to_string(),
        namespace: args.namespace,
    };
    let mut printed = Vec::new();
    for document in yaml::documents(&text) {
        let (number, line) = (document.number, document.line);
        // A document that can't be parsed knows the line within it.
        let parsed = document.parse().with_context(|| file.clone())?;
        let place = || format!("{file}, document {number}, line {line}");
        let mutated = mutator.mutate(&document, parsed).with_context(place)?;
        for warning in &mutated.warnings {
            eprintln!("warning: {}: {warning}", place());
        }
        printed.push(print(&document, &mutated, args.output).with_context(place)?);
    }
    if printed.is_empty() {
        bail!("{file}: no documents in it");
    }
    io::stdout().lock().write_all(join(&printed).as_bytes()).context("can't write to standard output")
}

fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let mut bytes = Vec::new();
    let name = if path == "-" { "standard input".to_owned() } else { path.display().to_string() };
    if path == "-" {
        io::stdin().lock().read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes))
    }
    .with_context(|| format!("{name}: can't read it"))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|&&c| c == b'\n').count();
        anyhow!("{name}, line {line}: not UTF-8")
    })?;
    Ok((name, text))
}

/// What became of a document.
struct Mutated {
    value: Value,
    /// What was added, with paths from the document's root.
    patch: Patch,
    warnings: Vec<String>,
    kind: Kind,
}

/// What a document was.
enum Kind {
    Manifest,
    /// The text is the answer as the server would send it.
    Review {
        answer: String,
    },
}

struct Mutator {
    webhook: Webhook,
    scratch: Scratch,
    accounts: HashMap<(String, String), Account>,
    accounts_path: String,
    namespace: String,
}

impl Mutator {
    fn mutate(&mut self, document: &Document<'_>, mut value: Value) -> anyhow::Result<Mutated> {
        let mut warnings = Vec::new();
        if value["kind"] == "AdmissionReview" {
            // A recorded request is answered byte for byte as it was sent.
            let body =
                if document.looks_like_json() { document.text.into() } else { serde_json::to_vec(&value)? };
            let answer = self.answer(body)?;
            let value: Value = serde_json::from_str(&answer)?;
            let patch = patch_of(&value)?;
            return Ok(Mutated { value, patch, warnings, kind: Kind::Review { answer } });
        }
        let mut patch = Patch::default();
        for pointer in pod_pointers(&value, "") {
            patch.0.extend(self.inject(&mut value, &pointer, &mut warnings)?.0);
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
        let kind = object["kind"].as_str().unwrap_or("pod").to_owned();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or(&self.namespace).to_owned();
        let place = || format!("{kind} {namespace}/{name}");

        let pod =
            manifest.pointer_mut(&pointers.pod).with_context(|| format!("{}: no pod template", place()))?;
        let mut object = pod.clone();
        if pointers.pod != pointers.object {
            // A controller names its pods itself.
            if let Some(metadata) = object["metadata"].as_object_mut() {
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
        let answer = self.webhook.admit(&mut body, &mut self.scratch, look_up)?;
        match (answer, unknown) {
            (Some(answer), _) => Ok(String::from_utf8(answer.body)?),
            (None, unknown) => {
                let (namespace, name) = unknown.unwrap_or_default();
                bail!(
                    "ServiceAccount {namespace}/{name} is not in {}; add it there, without a role if it has none",
                    self.accounts_path
                )
            }
        }
    }
}

/// Where a pod is within a document.
struct PodPointers {
    /// The object that is applied.
    object: String,
    /// The pod or pod template in it.
    pod: String,
}

/// Finds the pods and pod templates of a document.
fn pod_pointers(value: &Value, object: &str) -> Vec<PodPointers> {
    let api_version = value["apiVersion"].as_str().unwrap_or_default();
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let pod = match (group, value["kind"].as_str().unwrap_or_default()) {
        ("", "List") => {
            let items = value["items"].as_array().into_iter().flatten().enumerate();
            return items
                .flat_map(|(index, item)| pod_pointers(item, &format!("{object}/items/{index}")))
                .collect();
        }
        ("", "Pod") => "",
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet") | ("batch", "Job") => {
            "/spec/template"
        }
        ("batch", "CronJob") => "/spec/jobTemplate/spec/template",
        _ => return Vec::new(),
    };
    vec![PodPointers { object: object.to_owned(), pod: format!("{object}{pod}") }]
}

fn patch_of(answer: &Value) -> anyhow::Result<Patch> {
    match answer["response"]["patch"].as_str() {
        None => Ok(Patch::default()),
        Some(encoded) => Ok(serde_json::from_slice(&STANDARD.decode(encoded)?)?),
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

/// A document as it is to be printed.
struct Printed {
    text: String,
    is_yaml: bool,
}

fn print(document: &Document<'_>, mutated: &Mutated, output: Option<Output>) -> anyhow::Result<Printed> {
    let is_json = document.looks_like_json();
    let json = |text: String| Printed { text, is_yaml: false };
    Ok(match (output, &mutated.kind) {
        (Some(Output::Patch), _) => json(serde_json::to_string(&mutated.patch)?),
        (None, Kind::Review { answer }) => json(answer.clone()),
        // Whatever was not changed is printed as it was written, comments and all.
        (None, Kind::Manifest) if mutated.patch.0.is_empty() => verbatim(document, !is_json),
        (Some(Output::Yaml), Kind::Manifest) if mutated.patch.0.is_empty() && !is_json => {
            verbatim(document, true)
        }
        (Some(Output::Json), _) => json(serde_json::to_string_pretty(&mutated.value)?),
        (None, Kind::Manifest) if is_json => json(serde_json::to_string_pretty(&mutated.value)?),
        (Some(Output::Yaml) | None, _) => {
            Printed { text: serde_saphyr::to_string(&mutated.value)?, is_yaml: true }
        }
    })
}

fn verbatim(document: &Document<'_>, is_yaml: bool) -> Printed {
    Printed { text: document.text.trim_start_matches(['\r', '\n']).to_owned(), is_yaml }
}

fn join(printed: &[Printed]) -> String {
    let mut out = String::new();
    for (index, document) in printed.iter().enumerate() {
        if index > 0 && (document.is_yaml || printed[index - 1].is_yaml) {
            out.push_str("---\n");
        }
        out.push_str(document.text.trim_end_matches(['\r', '\n']));
        out.push('\n');
    }
    out
}
