//! The file that lists the accounts with container credentials, read again when it changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;
use tokio::sync::watch;
use tracing::{info, warn};

use super::container_credentials::{BadIdentities, Identities};
use crate::{
    files::{self, Fingerprint},
    metrics::IdentityMetrics,
};

/// Why the file can't be used.
#[derive(Debug, Error)]
pub enum BadIdentityFile {
    /// It can't be read.
    #[error("can't read {path}: {error}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not what it should be.
    #[error("{path}: {error}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        error: BadIdentities,
    },
}

/// Reads the file.
pub fn load(path: &Path) -> Result<Identities, BadIdentityFile> {
    let text =
        fs::read_to_string(path).map_err(|error| BadIdentityFile::Unreadable { path: path.into(), error })?;
    Identities::parse(&text).map_err(|error| BadIdentityFile::Malformed { path: path.into(), error })
}

/// The file, once it was read.
#[derive(Debug)]
pub struct IdentityFile {
    path: PathBuf,
    fingerprint: Fingerprint,
    identities: watch::Sender<Arc<Identities>>,
    metrics: IdentityMetrics,
}

impl IdentityFile {
    /// Reads it for the first time.
    pub fn open(path: &Path, metrics: IdentityMetrics) -> Result<Self, BadIdentityFile> {
        let fingerprint = Fingerprint::of([path]);
        let file = Self { path: path.into(), fingerprint, identities: watch::Sender::default(), metrics };
        file.take(load(path)?);
        Ok(file)
    }

    /// What it lists.
    pub fn identities(&self) -> watch::Receiver<Arc<Identities>> {
        self.identities.subscribe()
    }

    /// Follows it for ever, looking every `interval`. What can't be used leaves all as it was.
    pub async fn follow(mut self, interval: Duration) {
        loop {
            let path = self.path.clone();
            files::changed(&mut self.fingerprint, || vec![path.clone()], interval).await;
            match tokio::task::spawn_blocking(move || load(&path)).await {
                Ok(Ok(identities)) => self.take(identities),
                Ok(Err(error)) => self.refuse(&error),
                Err(error) => self.refuse(&error),
            }
        }
    }

    fn take(&self, identities: Identities) {
        info!(path = %self.path.display(), accounts = identities.len(), "accounts with container credentials read");
        self.metrics.took(identities.len());
        self.identities.send_replace(Arc::new(identities));
    }

    fn refuse(&self, error: &dyn std::fmt::Display) {
        self.metrics.failed();
        warn!(%error, "the file of container credentials changed but can't be used; the accounts stay as they were");
    }
}
