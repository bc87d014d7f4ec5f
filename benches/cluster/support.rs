//! What the modules of tests/e2e take from the tests' support.

#![allow(dead_code, reason = "the benchmark uses a part of it")]

#[path = "../../tests/suite/support/pki.rs"]
pub(crate) mod pki;

use std::{future::Future, time::Duration};

pub(crate) const ROLE: &str = "arn:aws:iam::111122223333:role/payments-api";
pub(crate) const ROLE_ANNOTATION: &str = "eks.amazonaws.com/role-arn";

pub(crate) async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let ended = tokio::time::timeout(Duration::from_secs(60), future).await;
    ended.unwrap_or_else(|_| panic!("a minute without {what}"))
}
