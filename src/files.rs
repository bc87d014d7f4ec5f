//! Noticing that files have changed, by their content.
//!
//! Mounted Secrets and ConfigMaps change by a swap of symlinks, for which a watch for writes never fires, so the content
//! is read again every now and then. A change counts once it has stood still for an interval: half-written files and
//! pairs of which only one half has been replaced are not looked at.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::sleep;

/// A digest of the content of some files. A file that can't be read counts by its error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(u64);

impl Fingerprint {
    /// Reads the files.
    pub fn of<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let mut hasher = DefaultHasher::new();
        for path in paths {
            path.as_ref().hash(&mut hasher);
            fs::read(path).map_err(|error| error.kind()).hash(&mut hasher);
        }
        Self(hasher.finish())
    }
}

/// Waits until the files differ from `current`, and then brings it up to date.
pub async fn changed(current: &mut Fingerprint, paths: impl Fn() -> Vec<PathBuf>, interval: Duration) {
    let mut last = *current;
    loop {
        sleep(interval).await;
        let seen = read_in_background(paths()).await.unwrap_or(last);
        if seen == last && seen != *current {
            *current = seen;
            return;
        }
        last = seen;
    }
}

async fn read_in_background(paths: Vec<PathBuf>) -> Option<Fingerprint> {
    tokio::task::spawn_blocking(move || Fingerprint::of(paths)).await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn swapped_symlinks_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("old", "1"), ("new", "2")] {
            fs::write(dir.path().join(name), content).unwrap();
        }
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("old", &link).unwrap();
        let mut current = Fingerprint::of([&link]);
        let before = current;

        let next = dir.path().join("next");
        std::os::unix::fs::symlink("new", &next).unwrap();
        fs::rename(next, &link).unwrap();
        changed(&mut current, || vec![link.clone()], Duration::from_millis(1)).await;
        assert_ne!(current, before);
        assert_eq!(current, Fingerprint::of([&link]));
    }

    #[test]
    fn a_file_that_goes_away_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let before = Fingerprint::of([&path]);
        fs::remove_file(&path).unwrap();
        assert_ne!(before, Fingerprint::of([&path]));
    }
}
