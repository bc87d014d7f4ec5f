//! The ServiceAccounts: where they come from, what they are assigned, and where they are looked up.
//!
//! ```text
//! sources: watch (the cluster) ──┬─▶ assignments ─▶ injection (parsed and rendered once) ─▶ cache ─▶ look-ups
//!          manifests (a folder) ─┘   ▲
//! annotations, config_map ─▶ mapping, container_credentials
//! ```

pub mod assignments;
pub mod cache;
pub mod sources;
