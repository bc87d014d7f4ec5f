//! The program on a real control plane: see `docs/testing.md`.

#![allow(missing_docs, reason = "tests are named by what they promise")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod api;
mod cases;
mod control_plane;
mod identity;
mod process;
#[allow(dead_code, reason = "shared with the suite, which uses all of it")]
#[path = "../suite/support/mod.rs"]
mod support;
mod wait;
mod webhook;

mod accounts;
mod audit;
mod certificates;
mod costs;
mod ephemeral;
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
