//! A response before it is HTTP, and its body until it is written.

use std::{
    borrow::Cow,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use hyper::{
    Response, StatusCode,
    body::{Body, Frame, SizeHint},
    header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER},
};

use super::{activity::Exchange, memory::Claim};

/// A response with a body that is at hand.
#[derive(Debug)]
pub(super) struct Reply {
    response: Response<ReplyBody>,
}

/// The body of a response.
#[derive(Debug)]
pub(super) struct ReplyBody(Option<ReplyData>);

/// The bytes of a body, and what ends when they have been written or the connection has ended: hyper keeps them until
/// then.
#[derive(Debug)]
pub(super) struct ReplyData {
    bytes: Bytes,
    _claim: Option<Claim>,
    exchange: Option<Exchange>,
}

impl Reply {
    /// A body of some content type, with status 200.
    pub(super) fn ok(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::holding(content_type, body.into(), None)
    }

    /// The same, with a claim to the memory of the body.
    pub(super) fn holding(content_type: &'static str, bytes: Bytes, claim: Option<Claim>) -> Self {
        let data = ReplyData { bytes, _claim: claim, exchange: None };
        let mut response = Response::new(ReplyBody(Some(data)));
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

    /// The response, whose body ends the exchange when it was written.
    pub(super) fn into_response(mut self, exchange: Exchange) -> Response<ReplyBody> {
        exchange.begin_response();
        if let Some(data) = &mut self.response.body_mut().0 {
            data.exchange = Some(exchange);
        }
        self.response
    }
}

impl Body for ReplyBody {
    type Data = ReplyData;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<ReplyData>, Infallible>>> {
        Poll::Ready(self.0.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|data| !data.has_remaining())
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |data| data.remaining() as u64))
    }
}

impl Buf for ReplyData {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}
