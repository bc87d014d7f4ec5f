//! The AWS SDKs that `tests/e2e/check` installs, each with a program that asks who AWS takes it for.

use std::{ffi::OsString, path::PathBuf};

use crate::harness::Skipped;

pub(crate) struct Sdk {
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
}

impl Sdk {
    pub(crate) fn boto3() -> Result<Self, Skipped> {
        let script = source("sdks/boto3_client.py");
        Ok(Self { name: "boto3", command: vec![python()?, script] })
    }

    pub(crate) fn command_line() -> Result<Self, Skipped> {
        let aws = installed("venv/bin/aws")?;
        let args = ["sts", "get-caller-identity", "--query=Arn", "--output=text"];
        Ok(Self { name: "cli", command: [aws].into_iter().chain(args.map(OsString::from)).collect() })
    }

    pub(crate) fn javascript() -> Result<Self, Skipped> {
        let package = installed("npm/installed")?;
        Ok(Self { name: "javascript", command: vec!["node".into(), source("sdks/javascript.mjs"), package] })
    }
}

/// The interpreter that has what the stand-in for AWS needs.
pub(crate) fn python() -> Result<OsString, Skipped> {
    installed("venv/bin/python")
}

/// A file beneath `tests/e2e`.
pub(crate) fn source(path: &str) -> OsString {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/e2e").join(path).into()
}

fn installed(path: &str) -> Result<OsString, Skipped> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/e2e-sdks").join(path);
    let is_there = path.exists();
    is_there.then(|| path.into()).ok_or_else(|| Skipped("needs the AWS SDKs: run tests/e2e/check".to_owned()))
}
