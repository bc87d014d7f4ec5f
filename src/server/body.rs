//! A request's body, read whole within limits.

use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{
    HeaderMap, StatusCode,
    body::{Body, Incoming},
    header::EXPECT,
};
use tokio::{sync::SemaphorePermit, time::timeout};

use super::{limits::Memory, reply::Reply};
use crate::admission;

/// What each body may hold without a question: nearly every review is smaller. Only what comes beyond it is taken from
/// the memory that requests share.
const FREE: usize = 64 << 10;

/// Bodies up to this size are parsed without a question.
const PARSED_FREELY: usize = 1 << 20;

/// Room made for a body before its first byte has come, at most.
const MAX_INITIAL_CAPACITY: usize = 1 << 20;

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
    /// What the peer is told. The connection ends, since what may be left of the body stands before any next request.
    pub(super) fn reply(&self, limit: usize) -> Reply {
        let mut reply = match self {
            Self::TooLarge => {
                let sentence = format!("the body is larger than {limit} bytes");
                Reply::text(StatusCode::PAYLOAD_TOO_LARGE, sentence)
            }
            Self::TooSlow => Reply::text(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"),
            Self::NoMemory => Reply::retry_later("too much is being read at once; try again"),
            Self::Broken(error) => {
                Reply::text(StatusCode::BAD_REQUEST, format!("the body can't be read: {error}"))
            }
        };
        reply.close();
        reply
    }
}

/// A body that was read, and what it holds of the shared memory.
pub(super) struct Held<'m> {
    pub(super) bytes: Vec<u8>,
    /// How many bytes there may be in the end.
    expected: usize,
    /// How many bytes it may have before it takes more.
    taken: usize,
    memory: &'m Memory,
    permit: Option<SemaphorePermit<'m>>,
}

/// Reads a body of at most `limit` bytes in at most `time`. There is room for the parser's padding behind it.
pub(super) async fn read<'m>(
    headers: &HeaderMap,
    body: Incoming,
    limit: usize,
    time: Duration,
    memory: &'m Memory,
) -> Result<Held<'m>, BadBody> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    // Who asks first is told at once; what would not be read to its end is not begun.
    if announced > limit && (headers.contains_key(EXPECT) || announced > limit.saturating_mul(DISCARDED)) {
        return Err(BadBody::TooLarge);
    }
    // Of a body that comes in chunks nothing is announced.
    let expected = if announced == 0 { limit } else { announced.min(limit) };
    let held = Held::new(expected, memory);
    match timeout(time, collect(body, announced, limit, held)).await {
        Ok(result) => result,
        Err(_) if announced > limit => Err(BadBody::TooLarge),
        Err(_) => Err(BadBody::TooSlow),
    }
}

/// What is not taken is read on for a while and thrown away: a peer that is still sending would otherwise meet a reset
/// instead of the answer.
async fn collect<'m>(
    mut body: Incoming,
    announced: usize,
    limit: usize,
    mut held: Held<'m>,
) -> Result<Held<'m>, BadBody> {
    let (mut received, mut refused) = (0_usize, None);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BadBody::Broken)?.into_data() else { continue };
        received += data.len();
        if refused.is_none() {
            let is_too_large = received.max(announced) > limit;
            refused = if is_too_large { Some(BadBody::TooLarge) } else { held.extend(&data).err() };
            if refused.is_some() {
                held = Held::new(0, held.memory);
            }
        } else if received > limit.saturating_mul(DISCARDED) {
            break;
        }
    }
    refused.map_or_else(|| held.ready_to_parse(), Err)
}

impl<'m> Held<'m> {
    fn new(expected: usize, memory: &'m Memory) -> Self {
        let bytes = Vec::with_capacity(expected.min(MAX_INITIAL_CAPACITY) + admission::PADDING);
        Self { bytes, expected, taken: FREE, memory, permit: None }
    }

    /// Memory is taken as bytes come in, so that who only announces them takes none from others: pages that nothing
    /// was written to are not there.
    fn extend(&mut self, data: &[u8]) -> Result<(), BadBody> {
        let len = self.bytes.len() + data.len();
        if len > self.taken {
            let more = (len - self.taken).next_multiple_of(FREE);
            self.take(more)?;
            self.taken += more;
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

    /// Of a huge body, what the parser needs is taken as well: for one of many small values it is 20 times the body. Of
    /// smaller ones each thread parses one at a time, and one that then waits is counted with those that wait.
    fn ready_to_parse(mut self) -> Result<Self, BadBody> {
        if self.bytes.len() > PARSED_FREELY {
            self.take(admission::memory_to_parse(&self.bytes))?;
        }
        Ok(self)
    }

    fn take(&mut self, bytes: usize) -> Result<(), BadBody> {
        if bytes > 0 {
            let taken = self.memory.take(bytes).ok_or(BadBody::NoMemory)?;
            match &mut self.permit {
                None => self.permit = Some(taken),
                Some(permit) => permit.merge(taken),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_moved_once_at_most_however_large_it_is() {
        let memory = Memory::new(16 << 20);
        for expected in [100, MAX_INITIAL_CAPACITY, 8 << 20] {
            let mut held = Held::new(expected, &memory);
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
