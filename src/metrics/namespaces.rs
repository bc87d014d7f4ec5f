//! Counts by namespace, if enabled. The first namespaces have counters of their own, and the others share one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use dashmap::DashMap;
use prometheus::{IntCounter, IntCounterVec, Registry};

use super::{opts, register};
use crate::{admission::Outcome, injection::warning::Warned};

/// The label of every namespace that has none of its own. A namespace of this name is counted with them.
const OTHER: &str = "other";

/// The longest name that a namespace can have (RFC 1123 label).
const MAX_NAME_BYTES: usize = 63;

/// Not `namespace`: a scrape gives that name to the namespace that this process runs in.
const LABEL: &str = "pod_namespace";

/// Counters by namespace. Each keeps its label until the process ends, so that no counter ever falls.
#[derive(Clone, Debug)]
pub struct NamespaceMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    admissions: IntCounterVec,
    warnings: IntCounterVec,
    known: DashMap<Box<str>, Arc<NamespaceCounters>>,
    /// How many further ones may become known.
    room: AtomicUsize,
    other: Arc<NamespaceCounters>,
}

/// The counters of one namespace, or of the rest.
#[derive(Debug)]
pub struct NamespaceCounters {
    /// In the order of [`OUTCOMES`].
    by_outcome: [IntCounter; OUTCOMES.len()],
    warnings: IntCounter,
}

/// The values of [`Outcome::as_str`]. Reasons are not counted by namespace: that would be twelve times as many series.
const OUTCOMES: [&str; 5] = ["injected", "unchanged", "skipped", "unavailable", "invalid"];

impl NamespaceMetrics {
    pub(super) fn new(registry: &Registry, most: usize) -> Self {
        let help = "Admission requests by the pod's namespace and what the pod got.";
        let admissions = IntCounterVec::new(opts("namespace_admissions_total", help), &[LABEL, "outcome"]);
        let admissions = register(registry, admissions);
        let help = "Admissions answered with warnings, by the pod's namespace.";
        let warnings = IntCounterVec::new(opts("namespace_admission_warnings_total", help), &[LABEL]);
        let warnings = register(registry, warnings);
        let other = Arc::new(NamespaceCounters::new(&admissions, &warnings, OTHER));
        Self(Arc::new(Inner { admissions, warnings, known: DashMap::new(), room: most.into(), other }))
    }

    /// The counters of a namespace. Allocates only for one that becomes known.
    pub fn of(&self, namespace: &str) -> Arc<NamespaceCounters> {
        let inner = &*self.0;
        if let Some(counters) = inner.known.get(namespace) {
            return Arc::clone(&counters);
        }
        let is_name = !matches!(namespace, "" | OTHER) && namespace.len() <= MAX_NAME_BYTES;
        if !is_name || inner.room.load(Ordering::Relaxed) == 0 {
            return Arc::clone(&inner.other);
        }
        // The first request makes the entry, and holds its lock while it takes the room.
        let entry = inner.known.entry(namespace.into());
        if let dashmap::Entry::Occupied(entry) = entry {
            return Arc::clone(entry.get());
        }
        let take_one = |room: usize| room.checked_sub(1);
        match inner.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one) {
            Ok(_) => {
                let counters = NamespaceCounters::new(&inner.admissions, &inner.warnings, namespace);
                Arc::clone(&entry.or_insert(Arc::new(counters)))
            }
            Err(_) => Arc::clone(&inner.other),
        }
    }
}

impl NamespaceCounters {
    fn new(admissions: &IntCounterVec, warnings: &IntCounterVec, namespace: &str) -> Self {
        Self {
            by_outcome: OUTCOMES.map(|outcome| admissions.with_label_values(&[namespace, outcome])),
            warnings: warnings.with_label_values(&[namespace]),
        }
    }

    /// Counts an admission.
    pub fn count(&self, outcome: Outcome, warned: Warned) {
        if let Some(index) = OUTCOMES.iter().position(|&name| name == outcome.as_str()) {
            self.by_outcome[index].inc();
        }
        if !warned.is_empty() {
            self.warnings.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_counter() {
        assert!(Outcome::ALL.iter().all(|outcome| OUTCOMES.contains(&outcome.as_str())));
    }

    #[test]
    fn the_first_namespaces_have_counters_of_their_own_and_the_rest_share_one() {
        let metrics = NamespaceMetrics::new(&Registry::new(), 2);
        let threads = [["a", "b", "c"], ["c", "b", "a"], ["b", "c", "a"]].map(|names| {
            let metrics = metrics.clone();
            std::thread::spawn(move || {
                for name in names {
                    metrics.of(name).count(Outcome::Injected, Warned::default());
                }
            })
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let inner = &metrics.0;
        assert_eq!(inner.known.len(), 2);
        let count = |name: &str| metrics.of(name).by_outcome[0].get();
        assert!(inner.known.iter().all(|entry| count(entry.key()) == 3));
        assert_eq!(inner.other.by_outcome[0].get(), 3);
        for name in ["", "other", "d", &"x".repeat(64)] {
            assert!(Arc::ptr_eq(&metrics.of(name), &inner.other), "{name}");
        }
    }
}
