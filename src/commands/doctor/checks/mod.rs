//! The checks: functions from what was read of the cluster to findings. `commands::doctor` does the reading.

mod accounts;
mod certificate;
mod configuration;
mod conflicting_webhooks;
mod identity;
mod rights;
mod selector;
mod server;
mod service;

use hyper::StatusCode;

pub(crate) use self::{
    accounts::{Accounts, accounts},
    certificate::{Handshake, authorities, ca_bundle, served},
    configuration::{configuration, entries, find, service_of},
    conflicting_webhooks::conflicting_webhooks,
    identity::{Claims, probe, probe_pod, token},
    rights::{needs, rights},
    selector::{namespaces, objects},
    server::version,
    service::{endpoints, service, url},
};
use crate::{kube::call::CallError, report::Finding};

/// What was read, or why reading failed.
pub(crate) type Read<T> = Result<T, Unread>;

/// Why something could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// It does not exist.
    Missing,
    /// A right is missing.
    Forbidden(String),
    /// Another error.
    Failed(String),
}

impl From<CallError> for Unread {
    fn from(error: CallError) -> Self {
        match (error.code(), &error) {
            (Some(StatusCode::NOT_FOUND), _) => Self::Missing,
            (Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), CallError::Refused { message, .. }) => {
                Self::Forbidden(message.clone())
            }
            (_, CallError::Refused { message, .. }) => Self::Failed(message.clone()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl Unread {
    /// The finding: a missing right only leaves something unchecked. `rule` is the rule that gives the right, `missing` the
    /// remedy where the object does not exist.
    fn finding(&self, check: &'static str, what: &str, rule: &str, missing: &str) -> Finding {
        match self {
            Self::Missing => Finding::fail(check, format!("{what}: there is none"), missing),
            Self::Forbidden(why) => Finding::skip(
                check,
                format!("{what}: {why}"),
                format!("give the user of this command the rule {rule}"),
            ),
            Self::Failed(why) => {
                Finding::fail(check, format!("{what}: {why}"), "look at the API server: it could not answer")
            }
        }
    }
}
