//! Every ServiceAccount, in memory: one writer (the source), many readers (the requests).
//!
//! A look-up distinguishes three states: given something, known and given nothing, unknown. Unknown means that
//! the watch is behind, since kube-apiserver has checked that the account exists before it calls; such a look-up can
//! [wait](Cache::wait) for the writer.

mod count;
mod key;
mod writer;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dashmap::DashMap;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use self::key::{AccountName, Key};
pub use self::{
    count::{Count, State},
    writer::Writer,
};
use crate::{injection::account::Account, metrics::AccountMetrics};

/// The readers' side.
#[derive(Debug, Default)]
pub struct Cache {
    accounts: DashMap<Key, Entry>,
    waiting: DashMap<Key, Arc<Notify>>,
    synced: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    /// `None` as long as it is not decided what the account is given.
    account: Option<Account>,
    /// The list in which the account was last seen; see [`Writer::begin_list`].
    generation: u32,
}

impl Cache {
    /// An empty cache and its only writer.
    pub fn new(metrics: AccountMetrics) -> (Arc<Self>, Writer) {
        let cache = Arc::new(Self::default());
        let writer = Writer::new(Arc::clone(&cache), metrics);
        (cache, writer)
    }

    /// The account; `None` if it is unknown or not decided yet. Neither waits nor allocates.
    pub fn look_up(&self, namespace: &str, name: &str) -> Option<Account> {
        let key: &dyn AccountName = &(namespace, name);
        self.accounts.get(key).and_then(|entry| entry.account.clone())
    }

    /// Every known account of a namespace, by name and in no order. Goes through all there are.
    pub fn accounts_of(&self, namespace: &str) -> Vec<(String, Account)> {
        let accounts = self.accounts.iter().filter_map(|entry| {
            let (of, name) = entry.key().parts();
            if of == namespace { Some((name.to_owned(), entry.account.clone()?)) } else { None }
        });
        accounts.collect()
    }

    /// Waits until the writer shows the account; `None` if it has not by the deadline.
    pub async fn wait(&self, namespace: &str, name: &str, deadline: Instant) -> Option<Account> {
        let waiter = Waiter { cache: self, key: Key::new(namespace, name) };
        let notify = waiter.join();
        // Listen first, look again after: the account may have arrived between the caller's look-up and here.
        let mut arrived = std::pin::pin!(notify.notified());
        arrived.as_mut().enable();
        if let Some(account) = self.look_up(namespace, name) {
            return Some(account);
        }
        timeout_at(deadline, arrived).await.ok();
        self.look_up(namespace, name)
    }

    /// Whether the cache has been filled once.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Says why pods can't be answered yet; nothing once every account is known.
    pub fn not_ready_reason(cache: Arc<Self>) -> impl Fn() -> Option<&'static str> + Send + Sync {
        move || (!cache.is_synced()).then_some("the ServiceAccounts have not been listed yet")
    }

    fn wake(&self, key: &dyn AccountName) {
        if let Some((_, notify)) = self.waiting.remove(key) {
            notify.notify_waiters();
        }
    }
}

/// A waiting request. The last one removes the entry.
struct Waiter<'a> {
    cache: &'a Cache,
    key: Key,
}

impl Waiter<'_> {
    /// The notification. It must be dropped before the waiter.
    fn join(&self) -> Arc<Notify> {
        Arc::clone(&self.cache.waiting.entry(self.key.clone()).or_default())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        // Others join and are counted under the shard's lock, so if the map is the only holder, nobody waits.
        self.cache.waiting.remove_if(&self.key, |_, notify| Arc::strong_count(notify) == 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        accounts::assignments::mapping::Mapping,
        injection::resolver::{OwnAnnotations, Resolver},
    };

    fn cache() -> (Arc<Cache>, Writer) {
        Cache::new(crate::metrics::Metrics::new().accounts)
    }

    /// The states that there are, with their numbers.
    fn counts(writer: &Writer) -> Vec<(State, usize)> {
        writer.count().iter().filter(|(_, count)| *count > 0).collect()
    }

    fn annotated() -> Account {
        let resolver = crate::injection::resolver::Resolver::new(Arc::default());
        resolver.resolve([("eks.amazonaws.com/role-arn", "arn:aws:iam::111122223333:role/app")])
    }

    #[test]
    fn three_states_are_distinguished() {
        let (cache, mut writer) = cache();
        writer.applied("a", "role", annotated());
        writer.applied("a", "plain", Account::Nothing);
        assert!(matches!(cache.look_up("a", "role"), Some(Account::Granted(_))));
        assert!(matches!(cache.look_up("a", "plain"), Some(Account::Nothing)));
        assert!(cache.look_up("a", "other").is_none());
        assert!(cache.look_up("a/role", "").is_none());
        writer.applied("a", "role", Account::Nothing);
        assert_eq!(counts(&writer), [(State::Unannotated, 2)]);
        writer.deleted("a", "role");
        writer.deleted("a", "role");
        assert_eq!(counts(&writer), [(State::Unannotated, 1)]);
    }

    #[test]
    fn an_account_that_is_not_decided_is_unknown_but_stays_over_a_list() {
        let (cache, mut writer) = cache();
        writer.begin_list();
        writer.listed("a", "late", None);
        writer.end_list();
        assert!(cache.look_up("a", "late").is_none() && writer.knows("a", "late"));
        assert_eq!((counts(&writer), cache.accounts_of("a").len()), (vec![], 0));
        assert_eq!(writer.reassign_all(|_, _, known| known.cloned()), 0);
        assert_eq!(writer.reassign_all(|_, _, _| Some(annotated())), 1);
        assert!(cache.look_up("a", "late").is_some());
        assert!(writer.reassign("a", "late", |_| None));
        assert_eq!(counts(&writer), []);
        writer.deleted("a", "late");
        assert!(!writer.knows("a", "late"));
    }

    #[test]
    fn a_relist_removes_only_what_it_did_not_hold_and_only_at_its_end() {
        let (cache, mut writer) = cache();
        for name in ["stays", "goes"] {
            writer.applied("a", name, annotated());
        }
        assert!(!cache.is_synced());
        writer.begin_list();
        writer.listed("a", "stays", annotated());
        writer.begin_list(); // the first try broke off
        writer.listed("a", "stays", annotated());
        assert!(cache.look_up("a", "goes").is_some());
        writer.end_list();
        assert!(cache.is_synced());
        assert!(cache.look_up("a", "goes").is_none());
        assert!(cache.look_up("a", "stays").is_some());
        assert_eq!(counts(&writer), [(State::Annotated, 1)]);
    }

    #[test]
    fn accounts_can_be_looked_up_while_all_are_reassigned() {
        let (cache, mut writer) = cache();
        for index in 0..1000 {
            writer.applied("a", &index.to_string(), Account::Nothing);
        }
        writer.applied("a", "own", annotated());
        let mapping =
            Mapping::parse(r#"{"a/1*": {"RoleARN": "r"}}"#, &Resolver::new(Arc::default())).unwrap();
        let resolver = Resolver::new(Arc::default());
        let changed = writer.reassign_all(|namespace, name, known| {
            // This would never return if the map were locked against readers.
            assert!(cache.look_up(namespace, name).is_some_and(|account| account.is_same(known.unwrap())));
            match known.unwrap().has_annotated_role() {
                true => known.cloned(),
                false => Some(mapping.resolve(&resolver, (namespace, name), &OwnAnnotations::NONE)),
            }
        });
        let [annotated, malformed, unannotated] = [State::Annotated, State::Malformed, State::Unannotated];
        assert_eq!(
            (changed, counts(&writer)),
            (111, vec![(annotated, 1), (malformed, 111), (unannotated, 889)])
        );
        let nothing_but_own = |_: &_, name: &_, known: Option<&Account>| match name {
            "own" => known.cloned(),
            _ => Some(Account::Nothing),
        };
        assert_eq!(writer.reassign_all(nothing_but_own), 111);
        assert_eq!(writer.reassign_all(nothing_but_own), 0);
        assert_eq!(counts(&writer), [(annotated, 1), (unannotated, 1000)]);
    }

    #[tokio::test(start_paused = true)]
    async fn waiters_are_woken_by_their_account_and_leave_nothing_behind() {
        let (cache, mut writer) = cache();
        let deadline = Instant::now() + Duration::from_secs(1);
        let waits = (0..3).map(|_| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move { cache.wait("a", "late", deadline).await })
        });
        let waits: Vec<_> = waits.collect();
        let never = cache.wait("a", "never", deadline);
        let arrive = async {
            while cache
                .waiting
                .get(&Key::new("a", "late"))
                .is_none_or(|waiting| Arc::strong_count(&waiting) < 4)
            {
                tokio::task::yield_now().await;
            }
            writer.applied("a", "other", Account::Nothing);
            writer.applied("a", "late", None);
            writer.reassign("a", "late", |_| Some(annotated()));
            for wait in waits {
                assert!(wait.await.unwrap().is_some());
            }
            Instant::now()
        };
        let (never, arrived) = tokio::join!(never, arrive);
        assert!(never.is_none());
        assert!(arrived < deadline, "woken, not timed out");
        assert!(cache.waiting.is_empty());
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn waiters_that_leave_together_leave_nothing_behind() {
        let (cache, _writer) = cache();
        let leave = |name: &'static str| {
            let cache = Arc::clone(&cache);
            tokio::spawn(async move {
                for _ in 0..5_000 {
                    assert!(cache.wait("a", name, Instant::now()).await.is_none());
                }
            })
        };
        for task in [leave("x"), leave("x"), leave("y"), leave("y")] {
            task.await.unwrap();
        }
        assert!(cache.waiting.is_empty());
    }

    /// The writer comes at every moment of the waits, give or take: before, between their steps, after. One of three that
    /// wait leaves at once, and takes nothing from the others.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_arrival_is_missed_whenever_it_comes() {
        let (cache, mut writer) = cache();
        let never = Instant::now() + Duration::from_secs(3600);
        for round in 0..4_000 {
            let name = format!("late-{round}");
            let start = Arc::new(std::sync::Barrier::new(4));
            let [leaves, waits @ ..] = [Instant::now(), never, never].map(|deadline| {
                let (cache, name, start) = (Arc::clone(&cache), name.clone(), Arc::clone(&start));
                tokio::spawn(async move {
                    start.wait();
                    cache.wait("a", &name, deadline).await
                })
            });
            start.wait();
            (0..round % 400).for_each(|_| std::hint::spin_loop());
            writer.applied("a", &name, annotated());
            leaves.await.unwrap();
            for wait in waits {
                let found = tokio::time::timeout(Duration::from_secs(20), wait).await;
                assert!(found.expect("woken").unwrap().is_some());
            }
        }
        assert!(cache.waiting.is_empty());
    }

    #[tokio::test]
    async fn an_account_that_arrives_before_the_wait_is_not_missed() {
        let (cache, mut writer) = cache();
        writer.applied("a", "early", annotated());
        assert!(cache.wait("a", "early", Instant::now()).await.is_some());
        assert!(cache.waiting.is_empty());
    }
}
