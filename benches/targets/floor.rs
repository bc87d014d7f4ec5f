//! The floor, built beside this crate: benches/floor is a package of its own, with a profile of its own.

use std::{env, path::PathBuf, process::Command};

use crate::process::Process;

/// Builds the floor. A short run does not measure, so it takes the fastest build.
pub(crate) fn build(short: bool) -> PathBuf {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/floor/Cargo.toml");
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/target/floor");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["build", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", target]);
    if !short {
        cargo.arg("--release");
    }
    assert!(cargo.status().unwrap().success(), "{manifest} does not build");
    PathBuf::from(target).join(if short { "debug" } else { "release" }).join("floor")
}

/// Starts it; `args` say what it serves.
pub(crate) fn start(program: &PathBuf, args: &[&str]) -> Process {
    Process::start(Command::new(program).args(args), "floor listens at ")
}
