//! A Kubernetes mutating admission webhook that lets pods on any cluster assume AWS IAM roles.

pub mod accounts;
pub mod admission;
pub mod cli;
pub mod commands;
pub mod config;
pub mod files;
pub mod metrics;
pub mod render;
pub mod server;
pub mod settings;
pub mod warning;
pub mod yaml;
