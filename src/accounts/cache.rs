//! Every ServiceAccount, in memory: one writer (the source), many readers (the requests).
//!
//! A look-up has three results, and they are kept apart: annotated, known and unannotated, unknown. Unknown means that
//! the watch is behind, since kube-apiserver has checked that the account exists before it calls; such a look-up can
//! [wait](Cache::wait) for the writer.

use std::{
    borrow::Borrow,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use dashmap::DashMap;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use crate::{
    binding::Account,
    mapping::Mapping,
    metrics::{AccountCount as Count, AccountMetrics, SourceFailure},
};

/// The readers' side.
#[derive(Debug, Default)]
pub struct Cache {
    accounts: DashMap<Key, Entry>,
    waiting: DashMap<Key, Arc<Notify>>,
    synced: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    account: Account,
    /// The list in which the account was last seen; see [`Writer::begin_list`].
    generation: u32,
}

impl Cache {
    /// An empty cache and its only writer.
    pub fn new(metrics: AccountMetrics) -> (Arc<Self>, Writer) {
        let cache = Arc::new(Self::default());
        let writer = Writer { cache: Arc::clone(&cache), generation: 0, count: Count::default(), metrics };
        (cache, writer)
    }

    /// What is known of an account; `None` if nothing. Neither waits nor allocates.
    pub fn look_up(&self, namespace: &str, name: &str) -> Option<Account> {
        let key: &dyn AccountName = &(namespace, name);
        self.accounts.get(key).map(|entry| entry.account.clone())
    }

    /// Every known account of a namespace, by name and in no order. Goes through all there are.
    pub fn accounts_of(&self, namespace: &str) -> Vec<(String, Account)> {
        let accounts = self.accounts.iter().filter_map(|entry| {
            let (of, name) = entry.key().parts();
            (of == namespace).then(|| (name.to_owned(), entry.account.clone()))
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

    fn wake(&self, key: &dyn AccountName) {
        if let Some((_, notify)) = self.waiting.remove(key) {
            notify.notify_waiters();
        }
    }
}

impl Count {
    fn of(&mut self, account: &Account) -> &mut usize {
        match account.binding().filter(|binding| binding.gives_identity()) {
            None => &mut self.unannotated,
            Some(binding) if binding.has_container_credentials() => &mut self.contained,
            Some(binding) if !binding.is_well_formed() => &mut self.malformed,
            Some(binding) if binding.mapped_by().is_some() => &mut self.mapped,
            Some(_) => &mut self.annotated,
        }
    }
}

/// The writer's side: takes what a source sees, and counts it.
///
/// A relist goes [`begin_list`](Self::begin_list), [`listed`](Self::listed) for each, [`end_list`](Self::end_list):
/// entries are replaced as they arrive and what the list did not hold is removed at its end. So no existing account is
/// ever missing, and no deleted one survives. A list that breaks off is begun again.
#[derive(Debug)]
pub struct Writer {
    cache: Arc<Cache>,
    generation: u32,
    count: Count,
    metrics: AccountMetrics,
}

impl Writer {
    /// Begins a list of all accounts.
    pub fn begin_list(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.metrics.list_begun();
    }

    /// Takes an account that a list holds.
    pub fn listed(&mut self, namespace: &str, name: &str, account: Account) {
        self.insert(namespace, name, account);
    }

    /// Ends a list: removes what was not in it. The cache counts as synced from now on.
    pub fn end_list(&mut self) {
        self.cache.accounts.retain(|_, entry| {
            let listed = entry.generation == self.generation;
            if !listed {
                *self.count.of(&entry.account) -= 1;
            }
            listed
        });
        self.cache.synced.store(true, Ordering::Release);
        self.metrics.list_ended();
        self.publish_count();
    }

    /// Takes an account that was created or changed.
    pub fn applied(&mut self, namespace: &str, name: &str, account: Account) {
        self.insert(namespace, name, account);
        self.metrics.applied();
        self.publish_count();
    }

    /// Takes notice that an account was deleted.
    pub fn deleted(&mut self, namespace: &str, name: &str) {
        let key: &dyn AccountName = &(namespace, name);
        if let Some((_, old)) = self.cache.accounts.remove(key) {
            *self.count.of(&old.account) -= 1;
        }
        self.metrics.deleted();
        self.publish_count();
    }

    /// Gives every account that has no role of its own what `bind` gives it now, and tells how many changed. To find them,
    /// the map is only read: requests go on meanwhile, and each change is one of its own.
    pub fn rebind(&mut self, bind: impl Fn(&str, &str) -> Account) -> usize {
        let known = self.cache.accounts.iter();
        let changed = known.filter(|entry| !entry.account.has_own_role()).filter_map(|entry| {
            let (namespace, name) = entry.key().parts();
            let account = bind(namespace, name);
            (!account.is_same(&entry.account)).then(|| (entry.key().clone(), account))
        });
        let changed: Vec<_> = changed.collect();
        let len = changed.len();
        for (key, account) in changed {
            self.change(&key, |_| account);
        }
        self.publish_count();
        len
    }

    /// Gives one account, if it is known, what `bind` makes of what it has.
    pub fn rebind_one(&mut self, namespace: &str, name: &str, bind: impl FnOnce(Account) -> Account) {
        self.change(&(namespace, name), bind);
        self.publish_count();
    }

    fn change(&mut self, key: &dyn AccountName, bind: impl FnOnce(Account) -> Account) {
        if let Some(mut entry) = self.cache.accounts.get_mut(key) {
            let account = bind(entry.account.clone());
            *self.count.of(&account) += 1;
            *self.count.of(&entry.account) -= 1;
            entry.account = account;
        }
    }

    /// Whether an account is known.
    pub fn knows(&self, namespace: &str, name: &str) -> bool {
        self.cache.look_up(namespace, name).is_some()
    }

    /// Takes notice of a role mapping that is in use now.
    pub fn mapped(&self, mapping: &Mapping) {
        self.metrics.mapping.took(mapping);
    }

    /// Counts a failure of the source.
    pub fn failed(&self, failure: SourceFailure) {
        self.metrics.failed(failure);
    }

    /// Whether a list has ever been completed.
    pub fn is_synced(&self) -> bool {
        self.cache.is_synced()
    }

    /// How many accounts are known.
    pub fn count(&self) -> Count {
        self.count
    }

    fn insert(&mut self, namespace: &str, name: &str, account: Account) {
        *self.count.of(&account) += 1;
        let entry = Entry { account, generation: self.generation };
        if let Some(old) = self.cache.accounts.insert(Key::new(namespace, name), entry) {
            *self.count.of(&old.account) -= 1;
        }
        self.cache.wake(&(namespace, name));
    }

    fn publish_count(&self) {
        self.metrics.known(self.count);
    }
}

/// Somebody who waits for an account; takes the entry with it when the last one goes.
struct Waiter<'a> {
    cache: &'a Cache,
    key: Key,
}

impl Waiter<'_> {
    /// What will be notified. To be dropped before the waiter is.
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

/// `namespace/name` in one allocation. A namespace holds no `/`, so the first one parts them.
#[derive(Clone, Debug)]
struct Key(Box<str>);

impl Key {
    fn new(namespace: &str, name: &str) -> Self {
        Self([namespace, "/", name].concat().into())
    }
}

/// A namespace and a name, however they are kept: lets a look-up borrow both from the request.
trait AccountName {
    fn parts(&self) -> (&str, &str);
}

impl AccountName for Key {
    fn parts(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or_default()
    }
}

impl AccountName for (&str, &str) {
    fn parts(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn AccountName + 'a> for Key {
    fn borrow(&self) -> &(dyn AccountName + 'a) {
        self
    }
}

impl Hash for dyn AccountName + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for dyn AccountName + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn AccountName + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::binding::Binder;

    fn cache() -> (Arc<Cache>, Writer) {
        Cache::new(crate::metrics::Metrics::new().accounts)
    }

    fn annotated() -> Account {
        let binder = crate::binding::Binder::new(Arc::default());
        binder.bind([("eks.amazonaws.com/role-arn", "arn:aws:iam::111122223333:role/app")])
    }

    #[test]
    fn three_states_are_told_apart() {
        let (cache, mut writer) = cache();
        writer.applied("a", "role", annotated());
        writer.applied("a", "plain", Account::Unannotated);
        assert!(matches!(cache.look_up("a", "role"), Some(Account::Annotated(_))));
        assert!(matches!(cache.look_up("a", "plain"), Some(Account::Unannotated)));
        assert!(cache.look_up("a", "other").is_none());
        assert!(cache.look_up("a/role", "").is_none());
        writer.applied("a", "role", Account::Unannotated);
        assert_eq!(writer.count(), Count { unannotated: 2, ..Count::default() });
        writer.deleted("a", "role");
        writer.deleted("a", "role");
        assert_eq!(writer.count(), Count { unannotated: 1, ..Count::default() });
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
        assert_eq!(writer.count(), Count { annotated: 1, ..Count::default() });
    }

    #[test]
    fn while_accounts_are_bound_anew_they_can_be_looked_up() {
        let (cache, mut writer) = cache();
        for index in 0..1000 {
            writer.applied("a", &index.to_string(), Account::Unannotated);
        }
        writer.applied("a", "own", annotated());
        let mapping = Mapping::parse(r#"{"a/1*": {"RoleARN": "r"}}"#, &Binder::new(Arc::default())).unwrap();
        let changed = writer.rebind(|namespace, name| {
            // Would never return if the map were locked against readers.
            assert!(cache.look_up(namespace, name).is_some() && name != "own");
            mapping.bind(&Binder::new(Arc::default()), (namespace, name), &[])
        });
        assert_eq!((changed, writer.count().malformed, writer.count().unannotated), (111, 111, 889));
        assert_eq!(writer.rebind(|_, _| Account::Unannotated), 111);
        assert_eq!(writer.rebind(|_, _| Account::Unannotated), 0);
        assert_eq!(writer.count(), Count { annotated: 1, unannotated: 1000, ..Count::default() });
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
            writer.applied("a", "other", Account::Unannotated);
            writer.applied("a", "late", annotated());
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
