//! What an account's pods are given: parsed once, rendered once, when the account changes.

pub mod aws_account;
pub mod binding;
pub mod render;
pub mod role_arn;
pub mod settings;
pub mod warning;
