//! The injection: what the pods of an account are given. It is parsed and rendered once, when the account changes.

pub mod account;
pub mod annotation;
pub mod annotation_keys;
pub mod aws_account;
pub mod compat;
pub mod container_names;
pub mod near_miss;
pub mod region;
pub mod render;
pub mod resolver;
pub mod role_arn;
pub mod settings;
pub mod variable;
pub mod warning;
