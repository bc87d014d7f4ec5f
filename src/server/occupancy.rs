//! The places of a listener: who has one, and who gives it up when all are taken.
//!
//! A connection whose peer keeps us waiting may be closed to make room for a new one: the one that has been idle longest.
//! Those without any request after a second go first, since kube-apiserver sends one as soon as it is connected, and so
//! do new ones while they have more than half of the places. If one peer has more than half of those that may be closed,
//! it gives up one of its own: a flood from one address evicts itself.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::activity::{Activity, Waiting};

/// How long a connection may take to its first request before it is the first to be closed.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// How soon another connection is looked for if the one that was to be closed is in use again.
const RETRY: Duration = Duration::from_millis(50);

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Occupancy {
    permits: Arc<Semaphore>,
    places: Arc<Mutex<Places>>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    taken: HashMap<u64, (IpAddr, Activity)>,
}

/// A place that is given up when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Mutex<Places>>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

/// A connection that may be closed.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    number: u64,
    peer: IpAddr,
    waiting: Waiting,
}

impl Occupancy {
    /// So many places.
    pub(super) fn new(most: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(most)), places: Arc::default() }
    }

    /// Takes a place for a connection that was accepted. If there is none, another connection is evicted; while every peer
    /// waits for us, this waits.
    pub(super) async fn enter(&self, peer: IpAddr, activity: Activity) -> Place {
        let mut free = Arc::clone(&self.permits).try_acquire_owned().ok();
        let permit = loop {
            if let Some(permit) = free {
                break permit;
            }
            self.evict();
            let acquired = timeout(RETRY, Arc::clone(&self.permits).acquire_owned()).await;
            free = acquired.ok().and_then(Result::ok);
        };
        let mut places = lock(&self.places);
        let number = places.next;
        places.next += 1;
        places.taken.insert(number, (peer, activity));
        Place { places: Arc::clone(&self.places), number, _permit: permit }
    }

    fn evict(&self) {
        let places = lock(&self.places);
        let candidates = places.taken.iter().filter_map(|(&number, (peer, activity))| {
            Some(Candidate { number, peer: *peer, waiting: activity.waiting()? })
        });
        if let Some(number) = choose(candidates.collect(), Instant::now())
            && let Some((_, activity)) = places.taken.get(&number)
        {
            activity.evict();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places).taken.remove(&self.number);
    }
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The connection to close.
fn choose(mut candidates: Vec<Candidate>, now: Instant) -> Option<u64> {
    let is_new = |candidate: &Candidate| !candidate.waiting.has_been_used;
    let is_silent =
        |candidate: &Candidate| is_new(candidate) && now - candidate.waiting.since > FIRST_REQUEST;
    let new = candidates.iter().filter(|candidate| is_new(candidate)).count();
    if candidates.iter().any(is_silent) {
        candidates.retain(is_silent);
    } else if new * 2 > candidates.len() {
        candidates.retain(is_new);
    } else {
        candidates.retain(|candidate| !is_new(candidate));
    }
    let dominant = dominant(&candidates);
    let eligible = candidates.iter().filter(|candidate| dominant.is_none_or(|peer| peer == candidate.peer));
    eligible.min_by_key(|candidate| candidate.waiting.since).map(|candidate| candidate.number)
}

/// The peer that has more than half of the connections, by the majority vote of Boyer and Moore.
fn dominant(candidates: &[Candidate]) -> Option<IpAddr> {
    let (mut leader, mut lead) = (None, 0);
    for candidate in candidates {
        match (lead, leader == Some(candidate.peer)) {
            (0, _) => (leader, lead) = (Some(candidate.peer), 1),
            (_, true) => lead += 1,
            (_, false) => lead -= 1,
        }
    }
    let count = candidates.iter().filter(|candidate| Some(candidate.peer) == leader).count();
    leader.filter(|_| count * 2 > candidates.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Candidates by peer, use, and how long they have been waited for; numbered in this order.
    fn chosen(candidates: &[(u8, bool, u64)]) -> Option<u64> {
        let now = Instant::now() + Duration::from_secs(1000);
        let candidates = candidates.iter().enumerate().map(|(number, &(peer, has_been_used, seconds))| {
            let since = now - Duration::from_secs(seconds);
            let waiting = Waiting { has_been_used, since };
            Candidate { number: number as u64, peer: [10, 0, 0, peer].into(), waiting }
        });
        choose(candidates.collect(), now)
    }

    #[test]
    fn the_connection_that_has_been_idle_longest_is_closed() {
        assert_eq!(chosen(&[(1, true, 5), (2, true, 9), (3, true, 7), (4, true, 8)]), Some(1));
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn connections_without_any_request_are_closed_first() {
        assert_eq!(chosen(&[(1, true, 90), (2, false, 3), (3, false, 2), (4, false, 0)]), Some(1));
    }

    #[test]
    fn new_connections_have_half_of_the_places() {
        assert_eq!(chosen(&[(1, true, 90), (2, true, 91), (3, false, 1), (4, false, 0)]), Some(1));
        assert_eq!(chosen(&[(1, true, 90), (3, false, 1), (4, false, 0)]), Some(1));
        assert_eq!(chosen(&[(3, false, 0)]), Some(0));
    }

    #[test]
    fn a_peer_with_more_than_half_closes_its_own() {
        assert_eq!(chosen(&[(1, true, 90), (2, true, 3), (2, true, 4)]), Some(2));
        assert_eq!(
            chosen(&[(1, true, 90), (1, true, 2), (2, true, 3), (2, true, 4)]),
            Some(0),
            "half is not more"
        );
        // A burst of kube-apiserver's connections does not make its newest one give way to silent ones.
        assert_eq!(
            chosen(&[(1, true, 9), (1, true, 9), (1, true, 9), (1, false, 0), (2, false, 5), (2, false, 6)]),
            Some(5)
        );
    }

    #[tokio::test]
    async fn a_place_is_taken_over_when_the_evicted_connection_ends() {
        let occupancy = Occupancy::new(1);
        let peer = IpAddr::from([127, 0, 0, 1]);
        let first = Activity::new();
        let place = occupancy.enter(peer, first.clone()).await;
        let ends = async {
            first.evicted().await;
            drop(place);
        };
        let ((), second) = tokio::join!(ends, occupancy.enter(peer, Activity::new()));
        assert_eq!(lock(&occupancy.places).taken.len(), 1);
        drop(second);
        assert!(lock(&occupancy.places).taken.is_empty());
    }
}
