//! Where ServiceAccounts come from: a cluster's watch, or manifests on disk.

pub mod list;
pub mod manifests;
mod metadata;
pub mod watch;
