//! The ServiceAccounts and their roles: where they come from and where they are looked up.
//!
//! ```text
//! watch (the cluster) ──┬─▶ roles ─▶ binding (parsed and rendered once) ─▶ cache ─▶ look-ups
//! manifests (a folder) ─┤
//! config_map ─▶ mapping ┤
//! identity_file ────────┘
//! ```

pub mod assignments;
pub mod cache;
pub mod sources;
