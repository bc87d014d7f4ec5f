//! The AWS SDKs that `tests/e2e/check` installs, each with a program that asks who AWS takes it for.

use std::{ffi::OsString, path::PathBuf};

use crate::harness::Skipped;

pub(crate) struct Sdk {
    pub(crate) name: &'static str,
    /// The program and its arguments.
    pub(crate) command: Vec<OsString>,
    /// Its message if the role's ARN is too short.
    pub(crate) short_arn: &'static str,
    /// Its message if it does not trust the authority of AWS' certificate.
    pub(crate) untrusted: &'static str,
    /// Its message if the agent of EKS Pod Identity answers 404.
    pub(crate) unknown_to_agent: &'static str,
}

/// Most SDKs leave it to STS to look at the ARN.
const SHORT_ARN: &str = "at 'roleArn' failed to satisfy constraint";

impl Sdk {
    pub(crate) fn boto3() -> Result<Self, Skipped> {
        Ok(Self::of_python("boto3", vec![python()?, source("sdks/boto3_client.py")]))
    }

    pub(crate) fn command_line() -> Result<Self, Skipped> {
        let aws = installed("venv/bin/aws")?;
        let args = ["sts", "get-caller-identity", "--query=Arn", "--output=text"];
        Ok(Self::of_python("cli", [aws].into_iter().chain(args.map(OsString::from)).collect()))
    }

    fn of_python(name: &'static str, command: Vec<OsString>) -> Self {
        Self {
            name,
            command,
            short_arn: "Invalid length for parameter RoleArn",
            untrusted: "certificate verify failed",
            unknown_to_agent: "Received non 200 response 404 from container metadata",
        }
    }

    pub(crate) fn javascript() -> Result<Self, Skipped> {
        let package = installed("npm/installed")?;
        Ok(Self {
            name: "javascript",
            command: vec!["node".into(), source("sdks/javascript.mjs"), package],
            short_arn: SHORT_ARN,
            untrusted: "unable to verify the first certificate",
            // It asks in another way after a refusal, and reports that the other way failed.
            unknown_to_agent: "is not a valid container metadata service hostname",
        })
    }

    pub(crate) fn rust() -> Result<Self, Skipped> {
        Ok(Self {
            name: "rust",
            command: vec![installed("rust/debug/rust-client")?],
            short_arn: SHORT_ARN,
            untrusted: "invalid peer certificate",
            unknown_to_agent: "Non-success status from HTTP credential provider",
        })
    }

    pub(crate) fn go() -> Result<Self, Skipped> {
        let client = installed("go/client");
        let client =
            client.map_err(|_| Skipped("needs Go when tests/e2e/check installs the AWS SDKs".to_owned()))?;
        Ok(Self {
            name: "go",
            command: vec![client],
            short_arn: SHORT_ARN,
            untrusted: "certificate signed by unknown authority",
            unknown_to_agent: "failed to load credentials, ResourceNotFoundException",
        })
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
