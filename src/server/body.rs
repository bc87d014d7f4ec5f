//! A request's body, read whole within limits.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Incoming},
    header::EXPECT,
};
use tokio::time::timeout;

use super::{
    activity::Exchange,
    memory::{Claim, FREE},
    reply::Reply,
};
use crate::admission;

/// Room made for a body before its first byte has come, at most.
const MAX_INITIAL_CAPACITY: usize = 1 << 20;

/// The most that parsing takes, in bytes for each byte of the body: a value of one character and a comma.
const MOST_TO_PARSE: usize = 20;

/// Bodies are read, and thrown away, up to this multiple of the limit.
const DISCARDED: usize = 3;

/// Why a body was not taken.
#[derive(Debug)]
pub(super) enum BadBody {
    TooLarge,
    TooSlow,
    NoMemory,
    Broken(hyper::Error),
}

impl BadBody {
    /// The answer. The connection ends, since the rest of the body, if there is any, comes before the next request.
    pub(super) fn reply(&self, limit: usize) -> Reply {
        let mut reply = match self {
            Self::TooLarge => {
                let sentence = format!("the body is larger than {limit} bytes");
                Reply::text(StatusCode::PAYLOAD_TOO_LARGE, sentence)
            }
            Self::TooSlow => Reply::text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            Self::NoMemory => no_memory(),
            Self::Broken(error) => {
                Reply::text(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"))
            }
        };
        reply.close();
        reply
    }
}

/// The answer when memory is short.
pub(super) fn no_memory() -> Reply {
    Reply::retry_later("too many large requests at once; try again")
}

/// A body that was read, and what it holds of the memory that requests share.
pub(super) struct Held {
    pub(super) bytes: Vec<u8>,
    pub(super) claim: Claim,
    /// How many bytes there may be in the end.
    expected: usize,
}

/// Reads a body of at most `limit` bytes in at most `time`. There is room for the parser's padding behind it.
pub(super) async fn read(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
    time: Duration,
    (claim, exchange): (Claim, &Exchange),
) -> Result<Held, BadBody> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // `Expect: 100-continue` is answered at once, and a body that is too large to be read to its end is not begun.
    if announced > limit && (headers.contains_key(EXPECT) || announced > limit.saturating_mul(DISCARDED)) {
        return Err(BadBody::TooLarge);
    }
    // A chunked body does not announce its length.
    let expected = if announced == 0 { limit } else { announced.min(limit) };
    let held = Held::new(expected, claim);
    match timeout(time, collect(body, announced, limit, held, exchange)).await {
        Ok(result) => result,
        Err(_) if announced > limit => Err(BadBody::TooLarge),
        Err(_) => Err(BadBody::TooSlow),
    }
}

/// A refused body is read on for a while and thrown away: a peer that is still sending would otherwise meet a reset
/// instead of the answer.
async fn collect(
    mut body: Incoming,
    announced: usize,
    limit: usize,
    mut held: Held,
    exchange: &Exchange,
) -> Result<Held, BadBody> {
    let (mut received, mut refused) = (0_usize, None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BadBody::Broken)?.into_data() else { continue };
        received += data.len();
        exchange.read(data.len());
        if refused.is_none() {
            let is_too_large = received.max(announced) > limit;
            refused = if is_too_large { Some(BadBody::TooLarge) } else { held.extend(&data).err() };
            if refused.is_some() {
                held.discard();
            }
        } else if received > limit.saturating_mul(DISCARDED) {
            break;
        }
    }
    refused.map_or(Ok(held), Err)
}

impl Held {
    fn new(expected: usize, claim: Claim) -> Self {
        let bytes = Vec::with_capacity(expected.min(MAX_INITIAL_CAPACITY) + admission::PADDING);
        Self { bytes, claim, expected }
    }

    /// Gives back what it holds.
    fn discard(&mut self) {
        self.bytes = Vec::new();
        self.claim.release();
    }

    /// Memory is claimed as bytes come in, so that a peer that only announces them takes none from others: pages that
    /// were never written to are not resident.
    fn extend(&mut self, data: &[u8]) -> Result<(), BadBody> {
        let len = self.bytes.len() + data.len();
        if !self.claim.covers(len.next_multiple_of(FREE)) {
            return Err(BadBody::NoMemory);
        }
        let needed = len + admission::PADDING;
        if needed > self.bytes.capacity() {
            // All at once: each move leaves as much as was moved with the allocator, which may keep it for a while.
            let new = needed.max(self.expected + admission::PADDING);
            self.bytes.reserve_exact(new - self.bytes.len());
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// Claims what the parser needs, which for a body of many small values is 20 times the body. They are counted only
    /// where there is no room for the worst case.
    pub(super) fn claim_parsing(&mut self) -> bool {
        let len = self.bytes.len();
        len <= FREE
            || self.claim.covers(len + len * MOST_TO_PARSE)
            || self.claim.covers(len + admission::memory_to_parse(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::memory::Memory;

    #[test]
    fn a_body_is_moved_at_most_once() {
        let memory = Memory::new(16 << 20, 1);
        for expected in [100, MAX_INITIAL_CAPACITY, 8 << 20] {
            let mut held = Held::new(expected, memory.claim());
            let mut capacities = vec![held.bytes.capacity()];
            while held.bytes.len() + 20 <= expected {
                let piece = (expected - held.bytes.len()).min(16 << 10);
                held.extend(&vec![b' '; piece]).unwrap();
                capacities.push(held.bytes.capacity());
            }
            capacities.dedup();
            assert!(capacities.len() <= 2, "{capacities:?}");
            assert!(held.bytes.capacity() < expected + 2 * admission::PADDING, "no more than it takes");
        }
    }
}
