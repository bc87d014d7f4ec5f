//! A recorded AdmissionReview, to be sent byte for byte.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail, ensure};
use bytes::Bytes;
use serde_json::Value;

/// A request that was recorded, and what of it an answer is held against.
#[derive(Debug)]
pub(super) struct Review {
    /// The file's name.
    pub(super) name: String,
    /// As it was recorded.
    pub(super) body: Bytes,
    pub(super) api_version: String,
    pub(super) uid: String,
    /// What a patch applies to; none where something is deleted.
    pub(super) object: Option<Value>,
}

/// The reviews of a file, or of the `.json` files of a folder by name.
pub(super) fn load(path: &Path) -> anyhow::Result<Vec<Review>> {
    let files = files(path).with_context(|| format!("{}: can't read it", path.display()))?;
    if files.is_empty() {
        bail!("{}: no .json file in it; record AdmissionReviews there", path.display());
    }
    files.iter().map(|file| read(file).with_context(|| file.display().to_string())).collect()
}

fn files(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let entries: Vec<PathBuf> =
        fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    let is_review = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "json");
    let mut files: Vec<PathBuf> = entries.into_iter().filter(is_review).collect();
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> anyhow::Result<Review> {
    let name = file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned();
    Review::parse(name, fs::read(file).context("can't read it")?)
}

impl Review {
    /// Reads what of a request its answer is compared with.
    pub(super) fn parse(name: String, body: Vec<u8>) -> anyhow::Result<Self> {
        let mut review: Value = serde_json::from_slice(&body).context("not JSON")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (kind, api_version) = (&review["kind"], text(&review["apiVersion"]));
        ensure!(
            kind == "AdmissionReview"
                && ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"].contains(&&*api_version),
            "not an AdmissionReview of admission.k8s.io/v1 or v1beta1"
        );
        let request = review["request"].as_object_mut().ok_or_else(|| anyhow!("no request in it"))?;
        let uid = request.get("uid").map(text).filter(|uid| !uid.is_empty());
        Ok(Self {
            name,
            body: body.into(),
            api_version,
            uid: uid.context("no request.uid in it")?,
            object: request.remove("object").filter(|object| !object.is_null()),
        })
    }
}
