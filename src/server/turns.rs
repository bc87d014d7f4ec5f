//! How many threads may render answers at once.
//!
//! While an answer is rendered it takes as much as a patch can have, in buffers of the thread. With more threads than this,
//! some wait for others, for the microseconds that an answer takes.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// As many as are started without being asked for.
const MOST: usize = 8;

/// The threads that render.
#[derive(Debug, Default)]
pub(super) struct Turns {
    counts: Mutex<Counts>,
    given_back: Condvar,
}

#[derive(Debug, Default)]
struct Counts {
    taken: usize,
    waiting: usize,
}

/// A turn, given back when it is dropped.
pub(super) struct Turn<'a>(&'a Turns);

impl Turns {
    /// Waits for a turn.
    pub(super) fn take(&self) -> Turn<'_> {
        let mut counts = self.counts();
        while counts.taken >= MOST {
            counts.waiting += 1;
            counts = self.given_back.wait(counts).unwrap_or_else(PoisonError::into_inner);
            counts.waiting -= 1;
        }
        counts.taken += 1;
        Turn(self)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut counts = self.0.counts();
        counts.taken -= 1;
        // To notify is a system call, even if no thread waits.
        if counts.waiting > 0 {
            self.0.given_back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
    };

    use super::*;

    #[test]
    fn no_more_threads_than_this_have_a_turn_at_once() {
        let (turns, now, most) = (Turns::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..4 * MOST {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = turns.take();
                        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                        thread::yield_now();
                        now.fetch_sub(1, SeqCst);
                    }
                });
            }
        });
        assert!(most.load(SeqCst) <= MOST && turns.counts().taken == 0);
    }
}
