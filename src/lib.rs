//! A Kubernetes mutating admission webhook that lets pods on any cluster assume AWS IAM roles.
//!
//! ```text
//! server:     listen → tls → connection → mutate ─┐                                        ┌─▶ reply
//!                                                 ▼                                        │
//! admission:  fast_path, or else review, pod ─▶ account looked up ─▶ rules ─▶ patch ─▶ response ─┘
//!                                                 ▲
//! accounts:   sources (watch, manifests) ─▶ assignments ─▶ injection (parsed, rendered) ─▶ cache
//!
//! tls:        files, or self_managed: Secret, webhook configuration ─▶ plan ─▶ controller
//! ```
//!
//! What depends on a ServiceAccount alone is parsed and rendered when the account changes; a request copies bytes.
//! `admission` is pure: bytes and a look-up in, bytes out. It meets the sources of accounts only in the cache.
//!
//! Dependencies run one way: a module uses only those below it in this list (`tests/suite/layers.rs` checks it).
//!
//! - [`commands`]: `serve`, which wires and spawns, and the commands for operators
//! - [`cli`]: flags and environment variables, and the configuration that they make
//! - [`server`]: the listeners: connections, HTTP, limits
//! - [`tls`]: the certificate that is served, from files or self-managed
//! - [`accounts`]: where ServiceAccounts come from, what is assigned to them, and where they are looked up
//! - [`recording`]: answered requests, written to be replayed
//! - [`oidc`]: what AWS has to know of a cluster: issuer, keys, trust policies
//! - [`metrics`]: names and labels of what is counted
//! - [`admission`]: the core: from the bytes of a request to the bytes of its answer
//! - [`injection`]: what the pods of an account are given, parsed and rendered once
//! - [`kube`]: the API server as this program uses it
//! - [`lifecycle`]: readiness and graceful shutdown
//! - [`report`]: findings for people and pipelines
//! - [`files`]: files that change
//! - [`yaml`]: documents of a YAML stream

pub mod accounts;
pub mod admission;
pub mod cli;
pub mod commands;
pub mod files;
pub mod injection;
pub mod kube;
pub mod lifecycle;
pub mod metrics;
pub mod oidc;
pub mod recording;
pub mod report;
pub mod server;
pub mod tls;
pub mod yaml;
