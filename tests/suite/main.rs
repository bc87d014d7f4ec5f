//! The promises of the program, a module for each: see `docs/testing.md`.

#![allow(missing_docs, reason = "tests are named by what they promise")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

#[path = "../checks/mod.rs"]
mod checks;
mod support;

mod abuse;
mod audit;
mod bad_input;
mod binary;
mod certificates;
mod compare;
mod compat;
mod completions;
mod container_credentials;
mod corpus;
mod cost;
mod docs;
mod doctor;
mod drain;
mod drop_in;
mod fast_path;
mod golden;
mod http2;
mod installed;
mod layers;
mod mapping;
mod mistakes;
mod observe;
mod oidc;
mod pages;
mod properties;
mod proxy;
mod race;
mod record;
mod reload;
mod role_policy;
mod rotation;
mod rules;
mod takeover;
mod trust_policy;
mod watch;
mod wire;
