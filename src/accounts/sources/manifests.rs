//! ServiceAccounts, and the ConfigMap that maps roles to them, from manifests on disk: the source that needs no cluster.

use std::{
    fmt::Display,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use thiserror::Error;
use tracing::{info, warn};

use super::{SourceFailure, reassign};
use crate::{
    accounts::{
        assignments::{
            Assignments,
            mapping::{CONFIG_MAP, Mapping},
        },
        cache::{State, Writer},
    },
    files::{self, Fingerprint},
    injection::{
        account::Account,
        resolver::{OwnAnnotations, Resolver},
    },
    yaml::{self, BadDocument, Document, Parsed},
};

/// The namespace of manifests that name none, as with kubectl.
const DEFAULT_NAMESPACE: &str = "default";

/// A ServiceAccount that a manifest declares.
#[derive(Debug)]
pub struct Declared {
    /// Its namespace; `default` where the manifest names none, as with kubectl.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Those of its annotations that this program reads.
    pub annotations: OwnAnnotations,
}

/// Why manifests can't be used.
#[derive(Debug, Error)]
pub enum BadManifests {
    /// A file or folder can't be read.
    #[error("can't read {path}: {error}", path = path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A document is not what it should be.
    #[error("{path}, {error}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Where and why.
        error: BadDocument,
    },
}

/// The content of manifests.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The ServiceAccounts.
    pub accounts: Vec<Declared>,
    /// The ConfigMap of roles, if there is one.
    pub mapping: Arc<Mapping>,
}

impl Loaded {
    /// Adds what other manifests declare, which stands where both declare the same.
    pub fn with(mut self, other: Self) -> Self {
        self.accounts.extend(other.accounts);
        if !other.mapping.is_empty() {
            self.mapping = other.mapping;
        }
        self
    }

    /// Resolves the accounts, under the mapping that was declared with them.
    pub fn resolve(self, assignments: &mut Assignments) -> impl Iterator<Item = (String, String, Account)> {
        assignments.set_mapping(self.mapping);
        self.accounts.into_iter().filter_map(|Declared { namespace, name, annotations }| {
            let account = assignments.resolve(&namespace, &name, annotations.iter())?;
            Some((namespace, name, account))
        })
    }
}

/// Reads the ServiceAccounts of a file, or of the `.yaml`, `.yml` and `.json` files of a folder, and the ConfigMap that
/// maps roles to them. Other kinds are passed over.
pub fn load(path: &Path, resolver: &Resolver) -> Result<Loaded, BadManifests> {
    let mut found = Found::default();
    for path in files(path).map_err(|error| BadManifests::Unreadable { path: path.into(), error })? {
        let text = fs::read_to_string(&path)
            .map_err(|error| BadManifests::Unreadable { path: path.clone(), error })?;
        found
            .read_file(&text, resolver)
            .map_err(|error| BadManifests::Malformed { path: path.clone(), error })?;
    }
    Ok(found.into())
}

/// Reads the ServiceAccounts of documents that were parsed, and the ConfigMap that maps roles to them. Accounts without a
/// namespace are in `namespace`.
pub fn declared_in(
    documents: &[(Document<'_>, Parsed)],
    resolver: &Resolver,
    namespace: &str,
) -> Result<Loaded, BadDocument> {
    let mut found = Found::default();
    for (document, Parsed { value, .. }) in documents {
        found.read_document(document, value, resolver, namespace)?;
    }
    Ok(found.into())
}

/// Reads the ServiceAccounts of a file's text, and the ConfigMap that maps roles to them.
pub fn parse(text: &str, resolver: &Resolver) -> Result<Loaded, BadDocument> {
    let mut found = Found::default();
    found.read_file(text, resolver)?;
    Ok(found.into())
}

/// A folder or file of manifests that is read again when it changes.
#[derive(Debug)]
pub struct Manifests {
    path: PathBuf,
    assignments: Assignments,
    writer: Writer,
    fingerprint: Fingerprint,
}

impl Manifests {
    /// Fills the cache for the first time.
    pub async fn open(
        path: &Path,
        mut assignments: Assignments,
        writer: Writer,
    ) -> Result<Self, BadManifests> {
        assignments.ready().await;
        let fingerprint = Fingerprint::of(files(path).unwrap_or_default());
        let loaded = load(path, assignments.resolver())?;
        let mut manifests = Self { path: path.into(), assignments, writer, fingerprint };
        manifests.replace(loaded);
        Ok(manifests)
    }

    /// Follows changes, looking every `interval`. Manifests that can't be read change nothing.
    pub async fn follow(mut self, interval: Duration) {
        loop {
            let path = self.path.clone();
            tokio::select! {
                () = files::changed(&mut self.fingerprint, || files(&path).unwrap_or_default(), interval) => {}
                change = self.assignments.changed() => {
                    reassign(&change, &self.assignments, &mut self.writer);
                    continue;
                }
            }
            let resolver = Arc::clone(self.assignments.resolver());
            // A large folder takes a while to parse, and no request should wait for that.
            let loaded = tokio::task::spawn_blocking(move || load(&path, &resolver));
            match loaded.await {
                Ok(Ok(loaded)) => self.replace(loaded),
                Ok(Err(error)) => self.refuse(&error),
                Err(error) => self.refuse(&error),
            }
        }
    }

    fn replace(&mut self, loaded: Loaded) {
        let mapping = Arc::clone(&loaded.mapping);
        self.writer.begin_list();
        for (namespace, name, account) in loaded.resolve(&mut self.assignments) {
            self.writer.listed(&namespace, &name, account);
        }
        self.writer.end_list();
        self.assignments.retain(|namespace, name| self.writer.knows(namespace, name));
        self.writer.metrics().mapping.in_use(mapping.len(), mapping.refused().len());
        mapping.log_refused();
        let count = self.writer.count();
        info!(
            path = %self.path.display(),
            annotated = count.get(State::Annotated),
            mapped = count.get(State::Mapped),
            container_credentials = count.get(State::ContainerCredentials),
            malformed = count.get(State::Malformed),
            unannotated = count.get(State::Unannotated),
            "synced ServiceAccounts from manifests"
        );
    }

    fn refuse(&self, error: &dyn Display) {
        self.writer.metrics().failed(SourceFailure::Manifests);
        warn!(%error, "manifests changed but can't be used; the accounts stay as they were");
    }
}

/// The files to read. Hidden entries are left out: mounted ConfigMaps keep their machinery in them.
fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        let is_manifest = path.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        });
        if is_manifest && !is_hidden && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The findings so far.
#[derive(Default)]
struct Found {
    accounts: Vec<Declared>,
    mapping: Option<Mapping>,
}

impl From<Found> for Loaded {
    fn from(found: Found) -> Self {
        Self { accounts: found.accounts, mapping: Arc::new(found.mapping.unwrap_or_default()) }
    }
}

impl Found {
    fn read_file(&mut self, text: &str, resolver: &Resolver) -> Result<(), BadDocument> {
        for document in yaml::documents(text) {
            let Parsed { value, .. } = document.parse()?;
            self.read_document(&document, &value, resolver, DEFAULT_NAMESPACE)?;
        }
        Ok(())
    }

    fn read_document(
        &mut self,
        document: &Document<'_>,
        value: &Value,
        resolver: &Resolver,
        namespace: &str,
    ) -> Result<(), BadDocument> {
        self.read(value, resolver, namespace).map_err(|message| BadDocument {
            number: document.number,
            line: document.line,
            message,
        })
    }

    /// Adds what is in one document, which may be a list.
    fn read(&mut self, document: &Value, resolver: &Resolver, namespace: &str) -> Result<(), String> {
        let kind = document["kind"].as_str().unwrap_or_default();
        if document["apiVersion"] != "v1" {
            return Ok(());
        }
        let items = || document["items"].as_array().into_iter().flatten();
        match kind {
            "ServiceAccount" => self.accounts.push(read_account(document, resolver, namespace)?),
            // The items of a typed list carry no kind of their own.
            "ServiceAccountList" => {
                for item in items() {
                    self.accounts.push(read_account(item, resolver, namespace)?);
                }
            }
            "List" => items().try_for_each(|item| self.read(item, resolver, namespace))?,
            "ConfigMap" if document["metadata"]["name"] == CONFIG_MAP => {
                let mapping = Mapping::of_config_map(document, resolver);
                let mapping = mapping.map_err(|error| format!("ConfigMap {CONFIG_MAP}: {error}"))?;
                if self.mapping.replace(mapping).is_some() {
                    return Err(format!("a second ConfigMap {CONFIG_MAP}; leave one of them out"));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn read_account(manifest: &Value, resolver: &Resolver, default_namespace: &str) -> Result<Declared, String> {
    let metadata = &manifest["metadata"];
    let name = metadata["name"].as_str().ok_or("a ServiceAccount has no metadata.name")?;
    let namespace = match &metadata["namespace"] {
        Value::Null => default_namespace,
        namespace => namespace
            .as_str()
            .ok_or_else(|| format!("ServiceAccount {name}: its namespace is not a string"))?,
    };
    let mut annotations = Vec::new();
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        match value {
            Value::String(text) => annotations.push((key.as_str(), text.as_str())),
            // As for Kubernetes, no value is an empty one.
            Value::Null => annotations.push((key.as_str(), "")),
            _ => {
                let account = format!("ServiceAccount {namespace}/{name}");
                return Err(format!("{account}: annotation {key} is not a string; put it in quotes"));
            }
        }
    }
    Ok(Declared { namespace: namespace.into(), name: name.into(), annotations: resolver.own(annotations) })
}
