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

use crate::{
    accounts::{
        assignments::{
            container_credentials::Identities,
            mapping::{CONFIG_MAP, Mapping},
            roles::{self, IdentityNews},
        },
        cache::Writer,
    },
    files::{self, Fingerprint},
    injection::binding::{Account, Binder},
    metrics::SourceFailure,
    yaml::{self, BadDocument, Parsed},
};

/// A ServiceAccount that a manifest declares.
#[derive(Debug)]
pub struct Declared {
    /// Its namespace; `default` where the manifest names none, as with kubectl.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it is to this program.
    pub account: Account,
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

/// What manifests declare.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The ServiceAccounts.
    pub accounts: Vec<Declared>,
    /// What the ConfigMap of roles maps, if there is one.
    pub mapping: Mapping,
}

impl Loaded {
    /// Gives container credentials to the accounts that are listed.
    pub fn contain(&mut self, identities: &Identities, binder: &Binder) {
        for Declared { namespace, name, account } in &mut self.accounts {
            if identities.contains(namespace, name) {
                *account = binder.contained(account.clone());
            }
        }
    }
}

/// Reads the ServiceAccounts of a file, or of the `.yaml`, `.yml` and `.json` files of a folder, and the ConfigMap that
/// maps roles to them. Other kinds are passed over.
pub fn load(path: &Path, binder: &Binder) -> Result<Loaded, BadManifests> {
    let mut found = Found::default();
    for path in files(path).map_err(|error| BadManifests::Unreadable { path: path.into(), error })? {
        let text = fs::read_to_string(&path)
            .map_err(|error| BadManifests::Unreadable { path: path.clone(), error })?;
        found
            .read_file(&text, binder)
            .map_err(|error| BadManifests::Malformed { path: path.clone(), error })?;
    }
    Ok(found.bind(binder))
}

/// Reads the ServiceAccounts of a file's text, and the ConfigMap that maps roles to them.
pub fn parse(text: &str, binder: &Binder) -> Result<Loaded, BadDocument> {
    let mut found = Found::default();
    found.read_file(text, binder)?;
    Ok(found.bind(binder))
}

/// A folder or file of manifests that is read again when it changes.
#[derive(Debug)]
pub struct Manifests {
    path: PathBuf,
    binder: Arc<Binder>,
    identities: Option<IdentityNews>,
    writer: Writer,
    fingerprint: Fingerprint,
}

impl Manifests {
    /// Fills the cache for the first time.
    pub fn open(
        path: &Path,
        binder: Arc<Binder>,
        identities: Option<IdentityNews>,
        writer: Writer,
    ) -> Result<Self, BadManifests> {
        let fingerprint = Fingerprint::of(files(path).unwrap_or_default());
        let loaded = load(path, &binder)?;
        let mut manifests = Self { path: path.into(), binder, identities, writer, fingerprint };
        manifests.replace(loaded);
        Ok(manifests)
    }

    /// Follows changes, looking every `interval`. Manifests that can't be read leave the cache as it was.
    pub async fn follow(mut self, interval: Duration) {
        loop {
            let path = self.path.clone();
            tokio::select! {
                () = files::changed(&mut self.fingerprint, || files(&path).unwrap_or_default(), interval) => {}
                () = roles::changed(&mut self.identities) => {}
            }
            let binder = Arc::clone(&self.binder);
            // A large folder takes a while to parse, and nobody's request should wait for that.
            let loaded = tokio::task::spawn_blocking(move || load(&path, &binder));
            match loaded.await {
                Ok(Ok(loaded)) => self.replace(loaded),
                Ok(Err(error)) => self.refuse(&error),
                Err(error) => self.refuse(&error),
            }
        }
    }

    fn replace(&mut self, mut loaded: Loaded) {
        if let Some(identities) = &mut self.identities {
            loaded.contain(&identities.borrow_and_update(), &self.binder);
        }
        let Loaded { accounts, mapping } = loaded;
        self.writer.begin_list();
        for Declared { namespace, name, account } in accounts {
            self.writer.listed(&namespace, &name, account);
        }
        self.writer.end_list();
        self.writer.mapped(&mapping);
        roles::tell_refused(&mapping);
        let count = self.writer.count();
        info!(
            path = %self.path.display(),
            annotated = count.annotated,
            mapped = count.mapped,
            container_credentials = count.contained,
            malformed = count.malformed,
            unannotated = count.unannotated,
            "synced ServiceAccounts from manifests"
        );
    }

    fn refuse(&self, error: &dyn Display) {
        self.writer.failed(SourceFailure::Manifests);
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

/// What was found, before it is known which roles are mapped.
#[derive(Default)]
struct Found {
    accounts: Vec<Unbound>,
    mapping: Option<Mapping>,
}

struct Unbound {
    namespace: String,
    name: String,
    account: Account,
    /// What it is annotated with, if it names no role.
    others: Box<[(Box<str>, Box<str>)]>,
}

impl Found {
    fn read_file(&mut self, text: &str, binder: &Binder) -> Result<(), BadDocument> {
        for document in yaml::documents(text) {
            let Parsed { value, .. } = document.parse()?;
            self.read(&value, binder).map_err(|message| BadDocument {
                number: document.number,
                line: document.line,
                message,
            })?;
        }
        Ok(())
    }

    /// Adds what is in one document, which may be a list.
    fn read(&mut self, document: &Value, binder: &Binder) -> Result<(), String> {
        let kind = document["kind"].as_str().unwrap_or_default();
        if document["apiVersion"] != "v1" {
            return Ok(());
        }
        let items = || document["items"].as_array().into_iter().flatten();
        match kind {
            "ServiceAccount" => self.accounts.push(read_account(document, binder)?),
            // The items of a typed list carry no kind of their own.
            "ServiceAccountList" => {
                for item in items() {
                    self.accounts.push(read_account(item, binder)?);
                }
            }
            "List" => items().try_for_each(|item| self.read(item, binder))?,
            "ConfigMap" if document["metadata"]["name"] == CONFIG_MAP => {
                let mapping = Mapping::of_config_map(document, binder);
                let mapping = mapping.map_err(|error| format!("ConfigMap {CONFIG_MAP}: {error}"))?;
                if self.mapping.replace(mapping).is_some() {
                    return Err(format!("a second ConfigMap {CONFIG_MAP}; leave one of them out"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn bind(self, binder: &Binder) -> Loaded {
        let mapping = self.mapping.unwrap_or_default();
        let accounts = self.accounts.into_iter().map(|Unbound { namespace, name, account, others }| {
            let account = match account.has_own_role() {
                true => account,
                false => mapping.bind(binder, (&namespace, &name), &others),
            };
            Declared { namespace, name, account }
        });
        Loaded { accounts: accounts.collect(), mapping }
    }
}

fn read_account(manifest: &Value, binder: &Binder) -> Result<Unbound, String> {
    let metadata = &manifest["metadata"];
    let name = metadata["name"].as_str().ok_or("a ServiceAccount has no metadata.name")?;
    let namespace = match &metadata["namespace"] {
        Value::Null => "default",
        namespace => {
            namespace.as_str().ok_or_else(|| format!("ServiceAccount {name}: its namespace is no string"))?
        }
    };
    let mut annotations = Vec::new();
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        match value {
            Value::String(text) => annotations.push((key.as_str(), text.as_str())),
            // As for Kubernetes, no value is an empty one.
            Value::Null => annotations.push((key.as_str(), "")),
            _ => {
                let account = format!("ServiceAccount {namespace}/{name}");
                return Err(format!("{account}: annotation {key} is no string; put it in quotes"));
            }
        }
    }
    let account = binder.bind(annotations.iter().copied());
    let others = if account.has_own_role() { Box::default() } else { binder.own(annotations) };
    Ok(Unbound { namespace: namespace.into(), name: name.into(), account, others })
}
