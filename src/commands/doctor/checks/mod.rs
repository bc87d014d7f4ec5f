//! Whether an installation can work, check by check: what was read of the cluster in, findings out.
//!
//! Nothing here reads; that is `commands::doctor`.

mod accounts;
mod certificate;
mod configuration;
mod conflicting_webhooks;
mod identity;
mod rights;
mod selector;
mod server;
mod service;

pub(crate) use self::{
    accounts::{Accounts, accounts},
    certificate::{Handshake, authorities, ca_bundle, served},
    configuration::{configuration, entries, find, service_of},
    conflicting_webhooks::conflicting_webhooks,
    identity::{Claims, probe, probe_pod, token},
    rights::{needs, rights},
    selector::{namespaces, objects},
    server::version,
    service::{endpoints, service},
};
use crate::report::Finding;

/// What was read, or why not.
pub(crate) type Read<T> = Result<T, Unread>;

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It is not there.
    Missing,
    /// It takes a right.
    Forbidden(String),
    /// For another reason.
    Failed(String),
}

impl Unread {
    /// What is to be said of it: a right that is missing only leaves something unchecked. `rule` would give it, and
    /// `missing` is what is to be done if the object is not there.
    fn finding(&self, check: &'static str, what: &str, rule: &str, missing: &str) -> Finding {
        match self {
            Self::Missing => Finding::fail(check, format!("{what}: there is none"), missing),
            Self::Forbidden(why) => Finding::skip(
                check,
                format!("{what}: {why}"),
                format!("give whoever runs this the rule {rule}"),
            ),
            Self::Failed(why) => {
                Finding::fail(check, format!("{what}: {why}"), "look at the API server: it could not answer")
            }
        }
    }
}
