//! A request's body, read whole within limits.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{
    Request, StatusCode,
    body::{Body, Incoming},
    header::EXPECT,
};
use tokio::time::timeout;

use super::reply::Reply;
use crate::admission;

/// Room made for a body before its first byte has come, at most.
const MAX_INITIAL_CAPACITY: usize = 1 << 20;

/// Bodies are read, and thrown away, up to this multiple of the limit.
const DISCARDED: usize = 3;

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum BadBody {
    TooLarge,
    TooSlow,
    Broken(hyper::Error),
}

impl BadBody {
    /// What the peer is told. The connection ends, since what is left of the body stands before any next request.
    pub(super) fn reply(&self, limit: usize) -> Reply {
        let mut reply = match self {
            Self::TooLarge => {
                let sentence = format!("the body is larger than {limit} bytes");
                Reply::text(StatusCode::PAYLOAD_TOO_LARGE, sentence)
            }
            Self::TooSlow => Reply::text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            Self::Broken(error) => {
                Reply::text(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"))
            }
        };
        reply.close();
        reply
    }
}

/// Reads a body of at most `limit` bytes in at most `time`. There is room for the parser's padding behind it.
pub(super) async fn read(
    request: Request<Incoming>,
    limit: usize,
    time: Duration,
) -> Result<Vec<u8>, BadBody> {
    let announced = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
    // Who asks first is told at once; what would not be read to its end is not begun.
    let asks_first = request.headers().contains_key(EXPECT);
    if announced > limit && (asks_first || announced > limit.saturating_mul(DISCARDED)) {
        return Err(BadBody::TooLarge);
    }
    match timeout(time, collect(request.into_body(), announced, limit)).await {
        Ok(result) => result,
        Err(_) if announced > limit => Err(BadBody::TooLarge),
        Err(_) => Err(BadBody::TooSlow),
    }
}

/// One that is too large is read on for a while and thrown away: a peer that is still sending would otherwise meet a
/// reset instead of the answer.
async fn collect(mut body: Incoming, announced: usize, limit: usize) -> Result<Vec<u8>, BadBody> {
    let mut collected =
        Vec::with_capacity(announced.min(limit).min(MAX_INITIAL_CAPACITY) + admission::PADDING);
    let mut received = 0_usize;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BadBody::Broken)?.into_data() else { continue };
        received += data.len();
        if received.max(announced) <= limit {
            collected.extend_from_slice(&data);
        } else if received <= limit.saturating_mul(DISCARDED) {
            collected = Vec::new();
        } else {
            break;
        }
    }
    if received > limit { Err(BadBody::TooLarge) } else { Ok(collected) }
}
