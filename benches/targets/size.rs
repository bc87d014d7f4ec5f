//! The binary.

use std::process::Command;

use crate::summary::{Line, Summary};

const MEGABYTES: f64 = 15.0;

pub(crate) fn run(summary: &mut Summary, _short: bool) {
    // Benchmarks are built with symbols; a release is not.
    let stripped = tempfile::NamedTempFile::new().unwrap();
    let program = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");
    let status = Command::new("strip").arg("-o").arg(stripped.path()).arg(program).status().unwrap();
    assert!(status.success());
    let size = stripped.path().metadata().unwrap().len() as f64 / 1e6;
    summary.line(Line {
        name: "binary, stripped".to_owned(),
        figure: format!("{size:.2} MB"),
        target: format!("≤ {MEGABYTES} MB"),
        ok: size <= MEGABYTES,
    });
}
