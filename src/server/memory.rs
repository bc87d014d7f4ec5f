//! The memory of requests: bodies, what it takes to parse them, and responses until they are written.
//!
//! An ordinary request is never refused because memory is short, since each may hold [`FREE`] bytes without a claim. A
//! request beyond the bound is answered with 503 at once. kube-apiserver then tries again within its timeout
//! (`client-go/rest/with_retry.go`). A queue would hold the connection and the memory of every waiting request.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// How many bytes each request may hold without a claim: nearly all are smaller.
pub(super) const FREE: usize = 16 << 10;

/// The memory that large requests share.
#[derive(Clone, Debug)]
pub(super) struct Memory(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    limit: usize,
    claimed: AtomicUsize,
    /// How many streams may hold [`FREE`] bytes at once. Requests of HTTP/1.1 are bounded by the connections.
    max_streams: usize,
    streams: AtomicUsize,
}

/// The memory that one request holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    memory: Memory,
    bytes: usize,
    is_of_stream: bool,
}

impl Memory {
    /// At most so many bytes, and so many streams.
    pub(super) fn new(limit: usize, max_streams: usize) -> Self {
        let (claimed, streams) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self(Arc::new(Pool { limit, claimed, max_streams, streams }))
    }

    /// The claim of a request that holds nothing yet.
    pub(super) fn claim(&self) -> Claim {
        Claim { memory: self.clone(), bytes: 0, is_of_stream: false }
    }

    /// The claim of a request of HTTP/2, unless there are too many.
    pub(super) fn claim_of_stream(&self) -> Option<Claim> {
        let within = |streams: usize| (streams < self.0.max_streams).then_some(streams + 1);
        self.0.streams.fetch_update(Relaxed, Relaxed, within).ok()?;
        Some(Claim { memory: self.clone(), bytes: 0, is_of_stream: true })
    }
}

impl Claim {
    /// Changes the claim to all that the request holds now. `false` if there is not so much, and nothing has changed
    /// then.
    #[must_use]
    pub(super) fn covers(&mut self, held: usize) -> bool {
        let bytes = held.saturating_sub(FREE);
        let Pool { limit, claimed, .. } = &*self.memory.0;
        if bytes > self.bytes {
            let more = bytes - self.bytes;
            let within = |claimed: usize| claimed.checked_add(more).filter(|all| all <= limit);
            if claimed.fetch_update(Relaxed, Relaxed, within).is_err() {
                return false;
            }
        } else if bytes < self.bytes {
            claimed.fetch_sub(self.bytes - bytes, Relaxed);
        }
        self.bytes = bytes;
        true
    }

    /// Gives back what was claimed.
    pub(super) fn release(&mut self) {
        self.memory.0.claimed.fetch_sub(std::mem::take(&mut self.bytes), Relaxed);
    }

    /// The claim, if there is anything left to hold.
    pub(super) fn some(self) -> Option<Self> {
        (self.bytes > 0 || self.is_of_stream).then_some(self)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.0.claimed.fetch_sub(self.bytes, Relaxed);
        }
        if self.is_of_stream {
            self.memory.0.streams.fetch_sub(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_grows_and_shrinks_and_is_given_back() {
        let memory = Memory::new(1000, 1);
        let (mut first, mut second) = (memory.claim(), memory.claim());
        assert!(first.covers(FREE + 900) && second.covers(FREE + 100));
        assert!(!second.covers(FREE + 101), "the bound is reached");
        assert!(second.covers(FREE + 100), "a failed claim changes nothing");
        assert!(first.covers(FREE) && second.covers(FREE + 1000));
        assert!(!first.covers(FREE + 1) && !first.covers(usize::MAX));
        drop(second);
        assert!(first.covers(FREE + 1000));
        drop(first);
        assert_eq!(memory.0.claimed.load(Relaxed), 0);
    }

    #[test]
    fn streams_are_bounded_in_number() {
        let memory = Memory::new(0, 2);
        let streams = [memory.claim_of_stream(), memory.claim_of_stream()];
        assert!(streams.iter().all(Option::is_some) && memory.claim_of_stream().is_none());
        let [first, _second] = streams;
        let kept = first.and_then(Claim::some);
        assert!(memory.claim_of_stream().is_none());
        drop(kept);
        assert!(memory.claim_of_stream().is_some());
    }

    #[test]
    fn small_requests_are_never_refused() {
        let memory = Memory::new(0, 0);
        let mut claim = memory.claim();
        assert!(claim.covers(FREE) && claim.some().is_none());
    }
}
