//! Self-managed certificates: an authority and a leaf of our own, kept in one Secret that all replicas share, and
//! published in the `caBundle` of the webhook configuration.
//!
//! ```text
//! Secret ────────▶ observed_secret ─┐         ┌─▶ rotation ─▶ authority (new authority, new leaf) ─▶ Secret
//!                                   ├─▶ plan ─┤
//! configuration ─▶ publication ─────┘         └─▶ caBundle
//!                       └─▶ serving (the newest leaf that is covered) ─▶ handshakes, readiness
//! ```
//!
//! [`crate::kube::object`] watches and writes the two objects; `controller` is the loop, and `repair_limiter` slows it
//! down where something else undoes its writes; the rest are functions of values.

use std::time::{SystemTime, UNIX_EPOCH};

pub mod authority;
pub mod certificate;
pub mod controller;
mod failures;
mod observed_secret;
pub mod plan;
pub mod policy;
pub mod publication;
mod repair_limiter;
pub mod secret;
pub mod serving;

/// Seconds since the epoch, as metrics show times.
fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
