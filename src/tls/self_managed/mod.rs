//! Certificates that nobody has to see to: an authority and a leaf of our own, kept in one Secret that all replicas
//! share, and published in the `caBundle` of the webhook configuration.
//!
//! ```text
//! Secret ────────▶ stored ──────┐             ┌─▶ rotation ─▶ authority (new authority, new leaf) ─▶ Secret
//!                               ├─▶ plan ─────┤
//! configuration ─▶ publication ─┘             └─▶ caBundle
//!                       └─────▶ serving (the newest leaf that is covered) ─▶ handshakes, readiness
//! ```
//!
//! [`crate::kube::object`] watches the two and writes them; `keeper` is the loop; everything between is a function of values.

pub mod authority;
pub mod certificate;
pub mod controller;
mod failures;
pub mod plan;
pub mod policy;
pub mod publication;
mod repair_limiter;
pub mod secret;
pub mod serving;
