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

use super::{
    News,
    container_credentials::{BadContainerCredentials, ContainerCredentialsList},
};
use crate::{
    files::{self, Fingerprint},
    metrics::ContainerCredentialsMetrics,
};

/// Why the file can't be used.
#[derive(Debug, Error)]
pub enum BadContainerCredentialsFile {
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
        error: BadContainerCredentials,
    },
}

/// Reads the file.
pub fn load(path: &Path) -> Result<ContainerCredentialsList, BadContainerCredentialsFile> {
    let text = fs::read_to_string(path)
        .map_err(|error| BadContainerCredentialsFile::Unreadable { path: path.into(), error })?;
    ContainerCredentialsList::parse(&text)
        .map_err(|error| BadContainerCredentialsFile::Malformed { path: path.into(), error })
}

/// The file, once it was read.
#[derive(Debug)]
pub struct ContainerCredentialsFile {
    path: PathBuf,
    fingerprint: Fingerprint,
    list: watch::Sender<Option<Arc<ContainerCredentialsList>>>,
    metrics: ContainerCredentialsMetrics,
}

impl ContainerCredentialsFile {
    /// Reads it for the first time.
    pub fn open(
        path: &Path,
        metrics: ContainerCredentialsMetrics,
    ) -> Result<Self, BadContainerCredentialsFile> {
        let fingerprint = Fingerprint::of([path]);
        let file = Self { path: path.into(), fingerprint, list: watch::Sender::default(), metrics };
        file.take(load(path)?);
        Ok(file)
    }

    /// The listed accounts, as they change.
    pub fn news(&self) -> News<ContainerCredentialsList> {
        self.list.subscribe()
    }

    /// Follows it for ever, looking every `interval`. A file that can't be used changes nothing.
    pub async fn follow(mut self, interval: Duration) {
        loop {
            let path = self.path.clone();
            files::changed(&mut self.fingerprint, || vec![path.clone()], interval).await;
            match tokio::task::spawn_blocking(move || load(&path)).await {
                Ok(Ok(list)) => self.take(list),
                Ok(Err(error)) => self.refuse(&error),
                Err(error) => self.refuse(&error),
            }
        }
    }

    fn take(&self, list: ContainerCredentialsList) {
        info!(path = %self.path.display(), accounts = list.len(), "accounts with container credentials read");
        self.metrics.took(list.len());
        self.list.send_replace(Some(Arc::new(list)));
    }

    fn refuse(&self, error: &dyn std::fmt::Display) {
        self.metrics.failed();
        warn!(%error, "the file of container credentials changed but can't be used; the accounts stay as they were");
    }
}
