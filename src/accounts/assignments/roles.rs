//! Whose role comes from where: an account's own annotation, or else the mapping of the moment.

use std::{collections::HashMap, future::pending, sync::Arc};

use tokio::sync::watch;
use tracing::warn;

use super::{container_credentials::Identities, mapping::Mapping};
use crate::{
    accounts::cache::Writer,
    injection::binding::{Account, Binder},
};

/// Mappings as they come; none before the first.
pub type Mappings = watch::Receiver<Option<Arc<Mapping>>>;

/// The accounts with container credentials, as they change.
pub type IdentityNews = watch::Receiver<Arc<Identities>>;

/// Waits for another list of them; for ever, if there is none.
pub(in crate::accounts) async fn changed(identities: &mut Option<IdentityNews>) {
    let changed = match identities {
        Some(identities) => identities.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        pending().await
    }
}

/// Logs the entries of a mapping that can't be used.
pub(in crate::accounts) fn tell_refused(mapping: &Mapping) {
    for refused in mapping.refused() {
        warn!(%refused, "malformed role mapping; the others count");
    }
}

/// Binds accounts, under a mapping if there is one.
#[derive(Debug)]
pub(in crate::accounts) struct Roles {
    binder: Arc<Binder>,
    mapping: Option<Arc<Mapping>>,
    /// What accounts are annotated with that name no role, by namespace and name: a few, since most have no annotation of
    /// ours at all. A mapping that comes later may give them one.
    others: HashMap<Box<str>, Annotations>,
    /// Accounts with container credentials, whatever their role.
    identities: Arc<Identities>,
}

type Annotations = Box<[(Box<str>, Box<str>)]>;

impl Roles {
    /// Without a mapping.
    pub(in crate::accounts) fn new(binder: Arc<Binder>, identities: Arc<Identities>) -> Self {
        Self { binder, mapping: None, others: HashMap::new(), identities }
    }

    /// An account as its annotations have it, and where they name no role, the mapping.
    pub(in crate::accounts) fn bind<'a>(
        &mut self,
        namespace: &str,
        name: &str,
        annotations: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Account {
        let account = self.binder.bind(annotations.clone());
        if self.mapping.is_none() {
            return self.contained(namespace, name, account);
        }
        if account.has_own_role() {
            self.forget(namespace, name);
            return self.contained(namespace, name, account);
        }
        match self.binder.own(annotations) {
            own if own.is_empty() => self.forget(namespace, name),
            own => drop(self.others.insert(key(namespace, name), own)),
        }
        self.mapped(namespace, name)
    }

    /// Takes another mapping, and binds by it what the cache knows; tells how many accounts changed.
    pub(in crate::accounts) fn take(&mut self, mapping: Arc<Mapping>, writer: &mut Writer) -> usize {
        self.mapping = Some(mapping);
        writer.rebind(|namespace, name| self.mapped(namespace, name))
    }

    /// Takes another list of the accounts with container credentials.
    pub(in crate::accounts) fn take_identities(&mut self, identities: Arc<Identities>, writer: &mut Writer) {
        let before = std::mem::replace(&mut self.identities, identities);
        for (namespace, name) in before.difference(&self.identities) {
            writer.rebind_one(namespace, name, |account| match self.identities.contains(namespace, name) {
                true => self.binder.contained(account),
                false => self.binder.uncontained(account),
            });
        }
    }

    fn contained(&self, namespace: &str, name: &str, account: Account) -> Account {
        if self.identities.contains(namespace, name) { self.binder.contained(account) } else { account }
    }

    /// An account is gone, or has no need of the mapping.
    pub(in crate::accounts) fn forget(&mut self, namespace: &str, name: &str) {
        if !self.others.is_empty() {
            self.others.remove(&*key(namespace, name));
        }
    }

    /// Forgets the accounts that the cache does not know.
    pub(in crate::accounts) fn retain_known(&mut self, writer: &Writer) {
        self.others.retain(|key, _| {
            key.split_once('/').is_some_and(|(namespace, name)| writer.knows(namespace, name))
        });
    }

    fn mapped(&self, namespace: &str, name: &str) -> Account {
        let Some(mapping) = &self.mapping else { return Account::Unannotated };
        let others = if self.others.is_empty() { None } else { self.others.get(&*key(namespace, name)) };
        let account = mapping.bind(&self.binder, (namespace, name), others.map_or(&[], |others| &**others));
        self.contained(namespace, name, account)
    }
}

fn key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into()
}
