//! The writer's side of the cache: what the source of accounts sees.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Cache, Entry,
    count::Count,
    key::{AccountName, Key},
};
use crate::{injection::account::Account, metrics::AccountMetrics};

/// Takes what a source sees, and counts it.
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
    pub(super) fn new(cache: Arc<Cache>, metrics: AccountMetrics) -> Self {
        Self { cache, generation: 0, count: Count::default(), metrics }
    }

    /// Begins a list of all accounts.
    pub fn begin_list(&mut self) {
        self.generation = self.generation.wrapping_add(1);
        self.metrics.list_begun();
    }

    /// Takes an account that a list holds.
    pub fn listed(&mut self, namespace: &str, name: &str, account: impl Into<Option<Account>>) {
        self.insert(namespace, name, account.into());
    }

    /// Ends a list: removes what was not in it. The cache counts as synced from now on.
    pub fn end_list(&mut self) {
        self.cache.accounts.retain(|_, entry| {
            let listed = entry.generation == self.generation;
            if !listed {
                self.count.remove(entry.account.as_ref());
            }
            listed
        });
        self.cache.synced.store(true, Ordering::Release);
        self.metrics.list_ended();
        self.publish_count();
    }

    /// Takes an account that was created or changed.
    pub fn applied(&mut self, namespace: &str, name: &str, account: impl Into<Option<Account>>) {
        self.insert(namespace, name, account.into());
        self.metrics.applied();
        self.publish_count();
    }

    /// Takes notice that an account was deleted.
    pub fn deleted(&mut self, namespace: &str, name: &str) {
        let key: &dyn AccountName = &(namespace, name);
        if let Some((_, old)) = self.cache.accounts.remove(key) {
            self.count.remove(old.account.as_ref());
        }
        self.metrics.deleted();
        self.publish_count();
    }

    /// Gives every account what `resolve` makes of what it is given now, and returns how many changed. To find them, the map
    /// is only read: requests go on meanwhile, and each change is made by itself.
    pub fn reassign_all(
        &mut self,
        resolve: impl Fn(&str, &str, Option<&Account>) -> Option<Account>,
    ) -> usize {
        let changed = self.cache.accounts.iter().filter_map(|entry| {
            let (namespace, name) = entry.key().parts();
            let account = resolve(namespace, name, entry.account.as_ref());
            (!is_same(account.as_ref(), entry.account.as_ref())).then(|| (entry.key().clone(), account))
        });
        let changed: Vec<_> = changed.collect();
        let len = changed.len();
        for (key, account) in changed {
            self.change(&key, |_| account);
        }
        self.publish_count();
        len
    }

    /// Gives one account, if it is known, what `resolve` makes of what it is given now, and returns whether that changed.
    pub fn reassign(
        &mut self,
        namespace: &str,
        name: &str,
        resolve: impl FnOnce(Option<&Account>) -> Option<Account>,
    ) -> bool {
        let changed = self.change(&(namespace, name), resolve);
        self.publish_count();
        changed
    }

    fn change(
        &mut self,
        key: &dyn AccountName,
        resolve: impl FnOnce(Option<&Account>) -> Option<Account>,
    ) -> bool {
        let Some(mut entry) = self.cache.accounts.get_mut(key) else { return false };
        let account = resolve(entry.account.as_ref());
        let changed = !is_same(account.as_ref(), entry.account.as_ref());
        self.count.add(account.as_ref());
        self.count.remove(entry.account.as_ref());
        let is_decided = account.is_some();
        entry.account = account;
        drop(entry);
        if is_decided {
            self.cache.wake(key);
        }
        changed
    }

    /// Whether an account is known.
    pub fn knows(&self, namespace: &str, name: &str) -> bool {
        let key: &dyn AccountName = &(namespace, name);
        self.cache.accounts.contains_key(key)
    }

    /// The metrics of the accounts.
    pub fn metrics(&self) -> &AccountMetrics {
        &self.metrics
    }

    /// Whether a list has ever been completed.
    pub fn is_synced(&self) -> bool {
        self.cache.is_synced()
    }

    /// How many accounts are known.
    pub fn count(&self) -> Count {
        self.count
    }

    fn insert(&mut self, namespace: &str, name: &str, account: Option<Account>) {
        self.count.add(account.as_ref());
        let is_decided = account.is_some();
        let entry = Entry { account, generation: self.generation };
        if let Some(old) = self.cache.accounts.insert(Key::new(namespace, name), entry) {
            self.count.remove(old.account.as_ref());
        }
        if is_decided {
            self.cache.wake(&(namespace, name));
        }
    }

    fn publish_count(&self) {
        self.metrics.known(self.count.iter());
    }
}

fn is_same(one: Option<&Account>, other: Option<&Account>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is_same(other),
        (None, None) => true,
        _ => false,
    }
}
