//! Which account is given what: by its annotations, or else a ConfigMap of roles; by a list of accounts with container
//! credentials over both.

pub mod config_map;
pub mod container_credentials;
pub mod container_credentials_file;
pub mod mapping;

use std::{collections::HashMap, future::pending, sync::Arc};

use tokio::sync::watch;

use self::{container_credentials::ContainerCredentialsList, mapping::Mapping};
use crate::injection::{
    account::Account,
    annotation_keys::AnnotationKeys,
    resolver::{OwnAnnotations, Resolver},
};

/// The values of a source as they come; `None` before the first.
pub type News<T> = watch::Receiver<Option<Arc<T>>>;

/// Resolves accounts: the one place that knows which source takes precedence. Annotations take precedence over the mapping,
/// and container credentials over both.
#[derive(Debug)]
pub struct Assignments {
    resolver: Arc<Resolver>,
    mapping: Followed<Mapping>,
    container_credentials: Followed<ContainerCredentialsList>,
    /// The annotations of accounts that name no role, by namespace and name. There are few, since most accounts have no
    /// annotation of ours at all. Kept only where another source may give such an account something later.
    without_role: HashMap<Box<str>, OwnAnnotations>,
}

/// Which accounts may be given something else now.
#[derive(Debug)]
pub enum Change {
    /// All of them.
    All,
    /// These, by namespace and name.
    Accounts(Vec<(Box<str>, Box<str>)>),
}

impl Assignments {
    /// Resolves by annotations alone.
    pub fn new(resolver: Arc<Resolver>) -> Self {
        Self {
            resolver,
            mapping: Followed::default(),
            container_credentials: Followed::default(),
            without_role: HashMap::new(),
        }
    }

    /// The annotations that matter.
    pub fn annotation_keys(&self) -> AnnotationKeys {
        self.resolver.annotation_keys()
    }

    /// Follows the mappings that come.
    pub fn following_mapping(mut self, news: Option<News<Mapping>>) -> Self {
        self.mapping.follow(news);
        self
    }

    /// Follows the lists of accounts with container credentials that come.
    pub fn following_container_credentials(mut self, news: Option<News<ContainerCredentialsList>>) -> Self {
        self.container_credentials.follow(news);
        self
    }

    /// What resolves annotations.
    pub fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// Waits until every source that is followed has been read. Before, nothing is certain of an account that names no role.
    pub async fn ready(&mut self) {
        if self.mapping.is_awaited() {
            let mapping = self.mapping.next().await;
            self.set_mapping(mapping);
        }
        if self.container_credentials.is_awaited() {
            let list = self.container_credentials.next().await;
            self.set_container_credentials(list);
        }
    }

    /// Waits until accounts may be given something else than before; forever, where nothing is followed.
    pub async fn changed(&mut self) -> Change {
        tokio::select! {
            mapping = self.mapping.next() => self.set_mapping(mapping),
            list = self.container_credentials.next() => self.set_container_credentials(list),
        }
    }

    /// Takes another mapping.
    pub fn set_mapping(&mut self, mapping: Arc<Mapping>) -> Change {
        self.mapping.current = Some(mapping);
        Change::All
    }

    /// Takes another list of the accounts with container credentials.
    pub fn set_container_credentials(&mut self, list: Arc<ContainerCredentialsList>) -> Change {
        let names = match &self.container_credentials.current {
            None => list.names(),
            Some(before) => before.difference(&list),
        };
        self.container_credentials.current = Some(list);
        Change::Accounts(names)
    }

    /// What an account with these annotations is given.
    pub fn resolve<'a>(
        &mut self,
        namespace: &str,
        name: &str,
        annotations: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Account {
        let account = self.resolver.resolve(annotations.clone());
        if !self.has_other_sources() {
            return account;
        }
        if account.has_annotated_role() {
            self.forget(namespace, name);
            return self.with_container_credentials(namespace, name, account);
        }
        let own = self.resolver.own(annotations);
        if own.is_empty() {
            self.forget(namespace, name);
        } else {
            self.without_role.insert(key(namespace, name), own);
        }
        let account = self.mapped(namespace, name, account);
        self.with_container_credentials(namespace, name, account)
    }

    /// What an account is given now that was resolved as `known` before.
    pub fn resolve_again(&self, namespace: &str, name: &str, known: &Account) -> Account {
        let before = known.without_container_credentials();
        let account = match known.has_annotated_role() {
            true => before.clone(),
            false => self.mapped(namespace, name, before.clone()),
        };
        let is_listed = self.is_listed(namespace, name);
        if is_listed && !before.is_same(known) && before.is_same(&account) {
            return known.clone();
        }
        if is_listed { self.with_container_credentials(namespace, name, account) } else { account }
    }

    /// Forgets an account that is gone.
    pub fn forget(&mut self, namespace: &str, name: &str) {
        if !self.without_role.is_empty() {
            self.without_role.remove(&*key(namespace, name));
        }
    }

    /// Forgets the accounts that are not known any more.
    pub fn retain(&mut self, is_known: impl Fn(&str, &str) -> bool) {
        self.without_role.retain(|key, _| key.split_once('/').is_some_and(|(of, name)| is_known(of, name)));
    }

    fn has_other_sources(&self) -> bool {
        self.mapping.is_used() || self.container_credentials.is_used()
    }

    /// What the mapping gives to an account without an annotated role; `account`, where there is no mapping.
    fn mapped(&self, namespace: &str, name: &str, account: Account) -> Account {
        let Some(mapping) = &self.mapping.current else { return account };
        mapping.resolve(&self.resolver, (namespace, name), self.annotations_of(namespace, name))
    }

    fn with_container_credentials(&self, namespace: &str, name: &str, account: Account) -> Account {
        if !self.is_listed(namespace, name) {
            return account;
        }
        self.resolver.container_credentials(account, self.annotations_of(namespace, name))
    }

    fn is_listed(&self, namespace: &str, name: &str) -> bool {
        self.container_credentials.current.as_ref().is_some_and(|list| list.contains(namespace, name))
    }

    fn annotations_of(&self, namespace: &str, name: &str) -> &OwnAnnotations {
        static NONE: OwnAnnotations = OwnAnnotations::NONE;
        if self.without_role.is_empty() {
            return &NONE;
        }
        self.without_role.get(&*key(namespace, name)).unwrap_or(&NONE)
    }
}

fn key(namespace: &str, name: &str) -> Box<str> {
    format!("{namespace}/{name}").into()
}

/// A source: what it holds now, and what comes.
#[derive(Debug)]
struct Followed<T> {
    current: Option<Arc<T>>,
    news: Option<News<T>>,
}

impl<T> Default for Followed<T> {
    fn default() -> Self {
        Self { current: None, news: None }
    }
}

impl<T> Followed<T> {
    fn is_used(&self) -> bool {
        self.current.is_some() || self.news.is_some()
    }

    fn is_awaited(&self) -> bool {
        self.current.is_none() && self.news.is_some()
    }

    /// Waits for the next value, or the first; forever, if none can come.
    async fn next(&mut self) -> Arc<T> {
        if let Some(news) = &mut self.news {
            while news.changed().await.is_ok() {
                if let Some(value) = &*news.borrow_and_update() {
                    return Arc::clone(value);
                }
            }
        }
        pending().await
    }

    /// Follows what comes, beginning with what is there.
    fn follow(&mut self, news: Option<News<T>>) {
        self.news = news;
        self.news.iter_mut().for_each(News::mark_changed);
    }
}
