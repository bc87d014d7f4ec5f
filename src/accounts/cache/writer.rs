//! The writer's side of the cache: one source of accounts, which tells what it sees.

use std::sync::{Arc, atomic::Ordering};

use super::{
    Cache, Entry,
    key::{AccountName, Key},
};
use crate::{
    accounts::assignments::mapping::Mapping,
    injection::binding::Account,
    metrics::{AccountCount as Count, AccountMetrics, SourceFailure},
};

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
        self.metrics.mapping.in_use(mapping.len(), mapping.refused().len());
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
