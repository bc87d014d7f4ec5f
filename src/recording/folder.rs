//! The folder of recordings: its names, its numbers and its bounds.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
};

use thiserror::Error;

use crate::admission::{Operation, Outcome};

/// Half-written recordings: no name that a reader of `*.json` would find. There is one at a time, so the one that a
/// killed process leaves behind is taken up by the next.
const TEMPORARY: &str = "recording.tmp";

/// Where recordings go, and how much of them. What an earlier process has left there counts.
#[derive(Clone, Debug)]
pub struct Folder {
    /// Made if it is missing.
    pub path: PathBuf,
    /// The most recordings.
    pub max_files: usize,
    /// The most bytes that they may have together.
    pub max_bytes: u64,
}

/// Why a folder can't hold recordings.
#[derive(Debug, Error)]
#[error("{path}: recordings can't be written there: {error}", path = path.display())]
pub struct BadFolder {
    path: PathBuf,
    error: io::Error,
}

/// A folder that can be written.
#[derive(Debug)]
pub(super) struct Writer {
    folder: Folder,
    files: usize,
    bytes: u64,
    /// The number of the next recording.
    next: u64,
}

impl Folder {
    /// Makes sure that the folder can be written, and counts what is there.
    pub(super) fn open(self) -> Result<Writer, BadFolder> {
        let path = self.path.clone();
        Writer::open(self).map_err(|error| BadFolder { path, error })
    }
}

impl Writer {
    fn open(folder: Folder) -> io::Result<Self> {
        fs::create_dir_all(&folder.path)?;
        let mut writer = Self { folder, files: 0, bytes: 0, next: 1 };
        for entry in fs::read_dir(&writer.folder.path)? {
            let entry = entry?;
            if let Some(number) = entry.file_name().to_str().and_then(number_of) {
                writer.files += 1;
                writer.bytes += entry.metadata()?.len();
                writer.next = writer.next.max(u64::from(number) + 1);
            }
        }
        writer.create_temporary()?;
        fs::remove_file(writer.temporary())?;
        Ok(writer)
    }

    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let bytes = self.bytes.saturating_add(bytes as u64);
        self.files < self.folder.max_files && bytes <= self.folder.max_bytes
    }

    /// Writes a recording that is whole as soon as it has its name.
    pub(super) fn write(&mut self, operation: Operation, outcome: Outcome, text: &[u8]) -> io::Result<()> {
        let result = self.create_temporary().and_then(|mut file| file.write_all(text));
        if let Err(error) = result.and_then(|()| self.publish(operation, outcome)) {
            fs::remove_file(self.temporary()).ok();
            return Err(error);
        }
        self.files += 1;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Gives the temporary file its name; one that somebody else has put there meanwhile is not replaced.
    fn publish(&mut self, operation: Operation, outcome: Outcome) -> io::Result<()> {
        loop {
            let (operation, reason) = (operation.as_str().to_lowercase(), outcome.reason());
            let path = self.folder.path.join(format!("{:06}-{operation}-{reason}.json", self.next));
            self.next += 1;
            if !path.try_exists()? {
                return fs::rename(self.temporary(), path);
            }
        }
    }

    /// Creates it anew, for its owner's eyes only.
    fn create_temporary(&self) -> io::Result<File> {
        fs::remove_file(self.temporary()).ok();
        File::options().write(true).create_new(true).mode(0o600).open(self.temporary())
    }

    fn temporary(&self) -> PathBuf {
        self.folder.path.join(TEMPORARY)
    }
}

/// The number of a recording; `None` for any other file.
fn number_of(name: &str) -> Option<u32> {
    let (number, _) = name.strip_suffix(".json")?.split_once('-')?;
    let is_ours = number.len() >= 6 && number.bytes().all(|c| c.is_ascii_digit());
    number.parse().ok().filter(|_| is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recordings_are_told_from_other_files_by_their_names() {
        for (name, number) in [
            ("000001-create-role.json", Some(1)),
            ("000120-update-not_patchable.json", Some(120)),
            ("1000000-create-role.json", Some(1_000_000)),
            ("00001-create-role.json", None),
            ("+00001-create-role.json", None),
            ("99999999999-create-role.json", None),
            ("000001.json", None),
            ("000001-create-role.yaml", None),
            ("minimal.json", None),
            (TEMPORARY, None),
        ] {
            assert_eq!(number_of(name), number, "{name}");
        }
    }
}
