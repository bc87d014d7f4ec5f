//! The documents that an OIDC issuer publishes for a cluster, as kube-apiserver writes them, and their verification.
//!
//! Pure functions of text; `commands` fetches and writes.

mod discovery;
pub mod issuer;
mod jwks;
mod key;
pub mod trust_policy;
mod verification;

use thiserror::Error;

pub use self::{
    discovery::Discovery,
    jwks::{Jwk, Jwks},
    key::{BadKey, read_keys},
    verification::{Fetched, verify_discovery, verify_issuer, verify_keys},
};

/// Why a document can't be read.
#[derive(Debug, Error)]
pub enum NotJson {
    /// Not JSON.
    #[error(transparent)]
    Syntax(#[from] serde_json::Error),
    /// Another document.
    #[error("{0}")]
    Other(&'static str),
}
