//! A response before it is HTTP.

use std::borrow::Cow;

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};

/// A response with a body that is at hand.
#[derive(Debug)]
pub(super) struct Reply {
    response: Response<Full<Bytes>>,
}

impl Reply {
    /// A body of some content type, with status 200.
    pub(super) fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut response = Response::new(Full::new(body.into()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        Self { response }
    }

    /// One sentence of plain text.
    pub(super) fn text(status: StatusCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        let line = match sentence.into() {
            Cow::Borrowed(sentence) => format!("{sentence}\n"),
            Cow::Owned(sentence) => sentence + "\n",
        };
        let mut reply = Self::ok("text/plain; charset=utf-8", line);
        *reply.response.status_mut() = status;
        reply
    }

    /// 405 with the methods that the path has.
    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        let mut reply =
            Self::text(StatusCode::METHOD_NOT_ALLOWED, format!("only {allowed} is answered at this path"));
        reply.response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        reply
    }

    /// 503 that asks to be tried again after a second; kube-apiserver does
    /// (`client-go/rest/with_retry.go`).
    pub(super) fn retry_later(sentence: &'static str) -> Self {
        let mut reply = Self::text(StatusCode::SERVICE_UNAVAILABLE, sentence);
        reply.response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        reply
    }

    pub(super) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Sets a header.
    pub(super) fn header(&mut self, name: HeaderName, value: HeaderValue) {
        self.response.headers_mut().insert(name, value);
    }

    /// Ends the connection after this response.
    pub(super) fn close(&mut self) {
        self.response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        self.response
    }
}
