//! Who gives what to which account: its annotations, a ConfigMap of roles, a list of accounts with container credentials.

pub mod config_map;
pub mod container_credentials;
pub mod container_credentials_file;
pub mod mapping;
pub mod roles;
