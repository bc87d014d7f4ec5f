//! Calls to the API server, and their errors in words.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::{Request, Response, StatusCode, header::ACCEPT};
use kube::{Client, client::Body};
use serde::Deserialize;
use thiserror::Error;

use super::root_cause::root_cause;

/// How long a call may take that is not a watch.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// How much of an error's body is read.
const MAX_STATUS_BYTES: usize = 64 << 10;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum CallError {
    /// It was answered with an error.
    #[error("the API server answered {code}: {message}")]
    Refused {
        /// The status code.
        code: StatusCode,
        /// The reason that the API server gives.
        message: String,
    },
    /// It was not answered.
    #[error("{}", root_cause(.0))]
    Failed(#[from] kube::Error),
    /// No answer came in time.
    #[error("no answer within {CALL_TIMEOUT:?}")]
    TimedOut,
    /// A watch stays open, and nothing arrives.
    #[error("nothing has arrived for {0:?}")]
    Silent(Duration),
    /// A watch that the API server, or something before it, ended early, without an error.
    #[error("the watch ended after {0:.1?}, without an error")]
    EndedEarly(Duration),
    /// An answer that ended in the middle of an object.
    #[error("the answer ended in the middle of an object")]
    EndedMidway,
    /// The answer is not what it should be.
    #[error("an answer that can't be read: {0}")]
    Unreadable(String),
}

impl CallError {
    /// The error of an event.
    pub fn of_event(code: u16, message: String) -> Self {
        match StatusCode::from_u16(code) {
            Ok(code) => Self::Refused { code, message },
            Err(_) => Self::Unreadable(format!("an error with the status {code}: {message}")),
        }
    }

    /// The status code of the answer, if it was answered.
    pub fn code(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Returns `rule` if the call failed because a right is missing that the rule gives.
    pub fn missing_right<'r>(&self, rule: &'r str) -> Option<&'r str> {
        (self.code() == Some(StatusCode::FORBIDDEN)).then_some(rule)
    }

    /// Whether the object has changed since the call was prepared: 409 by resourceVersion, 422 by the `test` of a patch.
    pub fn is_conflict(&self) -> bool {
        matches!(self.code(), Some(StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY))
    }
}

impl From<serde_json::Error> for CallError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// The text of an answer.
pub async fn text(client: &Client, request: Request<Body>) -> Result<String, CallError> {
    let body = send(client, request).await?.into_body().collect().await?.to_bytes();
    String::from_utf8(body.into()).map_err(|error| CallError::Unreadable(error.to_string()))
}

/// A GET of a path with its query.
pub fn get(path: &str, accept: &str) -> Result<Request<Body>, CallError> {
    let request = Request::get(path).header(ACCEPT, accept).body(Body::empty());
    request.map_err(|error| CallError::Unreadable(error.to_string()))
}

/// Sends a request; an answer that is not a success is an error.
pub(super) async fn send(client: &Client, request: Request<Body>) -> Result<Response<Body>, CallError> {
    refuse_errors(client.send(request).await?).await
}

/// The answer, unless it is an error.
pub(super) async fn refuse_errors(response: Response<Body>) -> Result<Response<Body>, CallError> {
    #[derive(Deserialize)]
    struct Status {
        message: String,
    }
    let code = response.status();
    if code.is_success() {
        return Ok(response);
    }
    let body = Limited::new(response.into_body(), MAX_STATUS_BYTES).collect().await;
    let status = body.ok().and_then(|body| serde_json::from_slice::<Status>(&body.to_bytes()).ok());
    let message = status.map_or_else(|| "no reason given".to_owned(), |status| status.message);
    Err(CallError::Refused { code, message })
}
