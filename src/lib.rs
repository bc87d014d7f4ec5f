//! A Kubernetes mutating admission webhook that lets pods on any cluster assume AWS IAM roles.
//!
//! ```text
//! server:     listen → tls → connection → mutate ─┐                                        ┌─▶ reply
//!                                                 ▼                                        │
//! admission:  skim, or else review, pod ─▶ account looked up ─▶ rules ─▶ patch ─▶ response ─┘
//!                                                 ▲
//! accounts:   watch (a cluster) ──┬─▶ binding ─▶ cache
//!             manifests (files) ──┤
//!         config_map ─▶ mapping ──┤
//!             identity_file ──────┘
//!
//! certificates: Secret, webhook configuration ─▶ plan ─▶ keeper ─▶ tls
//! ```
//!
//! What depends on a ServiceAccount alone is parsed and rendered when the account changes; a request copies bytes.
//! `admission` is pure: bytes and a look-up in, bytes out. It meets the sources of accounts only in the cache.
//!
//! Dependencies run one way, from the first line to the last:
//!
//! - [`commands`]: what the program does; `serve` is the one place that wires and spawns
//! - [`cli`], [`config`]: what was typed, what is valid
//! - [`certificates`]: an authority and certificates of our own, rotated and published
//! - [`server`]: connections, TLS and HTTP
//! - [`accounts`]: where they come from and where they are looked up
//! - [`recording`]: answered requests, written to be replayed
//! - [`audit`]: which pods lack what the core would give them
//! - [`doctor`]: whether an installation can work
//! - [`trust_policy`], [`oidc`]: what AWS has to know of a cluster
//! - [`metrics`]
//! - [`admission`]: the core
//! - [`mapping`], [`identities`]: what documents give to accounts
//! - [`binding`]: what the pods of an account are given, which both halves share
//! - [`role_arn`], [`settings`], [`render`], [`warning`]: what is injected, and how it is written
//! - [`aws_account`], [`backoff`], [`clock`], [`fields`], [`files`], [`finding`], [`issuer`], [`object`], [`root_cause`],
//!   [`webhook_url`], [`yaml`]: helpers that know nothing of the rest

pub mod accounts;
pub mod admission;
pub mod audit;
pub mod aws_account;
pub mod backoff;
pub mod binding;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod doctor;
pub mod fields;
pub mod files;
pub mod finding;
pub mod identities;
pub mod issuer;
pub mod mapping;
pub mod metrics;
pub mod object;
pub mod oidc;
pub mod recording;
pub mod render;
pub mod role_arn;
pub mod root_cause;
pub mod server;
pub mod settings;
pub mod trust_policy;
pub mod warning;
pub mod webhook_url;
pub mod yaml;
