//! The ServiceAccounts and their roles: where they come from and where they are looked up.
//!
//! ```text
//! watch (the cluster) ──┬─▶ binding (annotations, parsed and rendered once) ─▶ cache ─▶ look-ups
//! manifests (a folder) ─┘
//! ```

pub mod cache;
pub mod list;
pub mod manifests;
mod metadata;
pub mod watch;
