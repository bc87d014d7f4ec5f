//! How many requests may wait for unknown accounts. What is over the bound is answered with 503 at once.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// One namespace may have this part of the requests that may wait. A tenant who creates pods faster than the watch shows
/// their accounts, or makes up accounts, takes no room from others.
const PART_OF_A_NAMESPACE: usize = 4;

/// The requests that wait for unknown accounts.
#[derive(Debug)]
pub(super) struct Waits {
    most: usize,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_namespace: HashMap<Box<str>, usize>,
}

impl Waits {
    /// At most so many.
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Lets a request of this namespace wait, until what is returned is dropped; `None` if too many wait already.
    pub(super) fn enter<'a>(&'a self, namespace: &'a str) -> Option<Waiting<'a>> {
        let mut counts = self.counts();
        let of_namespace = counts.by_namespace.get(namespace).copied().unwrap_or_default();
        if counts.all >= self.most || of_namespace >= self.most.div_ceil(PART_OF_A_NAMESPACE) {
            return None;
        }
        counts.all += 1;
        counts.by_namespace.insert(namespace.into(), of_namespace + 1);
        Some(Waiting { waits: self, namespace })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    waits: &'a Waits,
    namespace: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut counts = self.waits.counts();
        counts.all -= 1;
        if let Some(count) = counts.by_namespace.get_mut(self.namespace) {
            *count -= 1;
            // A namespace without waiting requests is forgotten, so that made-up names take no memory.
            if *count == 0 {
                counts.by_namespace.remove(self.namespace);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_has_a_part_of_the_waits_and_all_have_no_more_than_there_are() {
        let waits = Waits::new(8);
        let of = |namespace| waits.enter(namespace);
        let (first, _second) = (of("a").unwrap(), of("a").unwrap());
        assert!(of("a").is_none());
        let _others: Vec<_> = ["b", "b", "c", "c", "d", "d"].map(|other| of(other).unwrap()).into();
        assert!(of("e").is_none(), "all are taken");
        drop(first);
        assert!(of("b").is_none());
        drop(of("e").unwrap());
        drop(of("a").unwrap());
    }

    #[test]
    fn namespaces_leave_nothing_behind() {
        let waits = Waits::new(8);
        for number in 0..1000 {
            assert!(waits.enter(&format!("made-up-{number}")).is_some());
        }
        let counts = waits.counts();
        assert!(counts.all == 0 && counts.by_namespace.is_empty());
    }
}
