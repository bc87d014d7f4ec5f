//! Faults while kube-apiserver's calls come in: see `docs/testing.md`.
//!
//! The program runs as replicas behind one address, on an API server that the tests break. Every answer is compared with
//! the golden one. `FAULTS_SECONDS` says how long a fault lasts (2 if it is not set).

#![allow(missing_docs, reason = "tests are named by what they promise")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod balancer;
mod cgroup;
mod cluster;
#[path = "../harness/mod.rs"]
mod harness;
mod load;
mod reviews;
#[allow(dead_code, reason = "shared with the suite, which uses all of it")]
#[path = "../suite/support/mod.rs"]
mod support;

mod replicas;
mod resources;
mod soak;
mod tenants;
mod watch;

fn main() -> std::process::ExitCode {
    let modules = [replicas::TESTS, resources::TESTS, soak::TESTS, tenants::TESTS, watch::TESTS];
    harness::run(&modules, tokio::runtime::Builder::new_multi_thread, Ok(()))
}
