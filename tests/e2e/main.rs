//! The program on a real control plane: see `docs/testing.md`.

#![allow(missing_docs, reason = "tests are named by what they promise")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod api;
mod cases;
mod control_plane;
#[path = "../harness/mod.rs"]
mod harness;
mod identity;
mod process;
#[allow(dead_code, reason = "shared with the suite, which uses all of it")]
#[path = "../suite/support/mod.rs"]
mod support;
mod wait;
mod webhook;

mod account_policies;
mod accounts;
mod audit;
mod certificates;
mod costs;
mod credentials;
mod ephemeral;
mod loopback;
mod mapping;
mod oidc;
mod outage;
mod pods;
mod policy;
mod recorded;
mod reinvocation;
mod require;
mod rights;
mod scale;
mod tools;
mod writes;

fn main() -> std::process::ExitCode {
    let assets = control_plane::assets();
    if let Ok(assets) = &assets {
        eprintln!("Kubernetes {}", control_plane::Version::of(assets).full);
    }
    let modules = [
        account_policies::TESTS,
        accounts::TESTS,
        audit::TESTS,
        certificates::TESTS,
        costs::TESTS,
        credentials::TESTS,
        ephemeral::TESTS,
        loopback::TESTS,
        mapping::TESTS,
        oidc::TESTS,
        outage::TESTS,
        pods::TESTS,
        policy::TESTS,
        recorded::TESTS,
        reinvocation::TESTS,
        require::TESTS,
        rights::TESTS,
        scale::TESTS,
        tools::TESTS,
        writes::TESTS,
    ];
    harness::run(&modules, tokio::runtime::Builder::new_current_thread, assets.map(drop))
}
