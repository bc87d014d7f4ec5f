//! Which account is given what: by its annotations, or else a ConfigMap of roles; by a list of accounts with container
//! credentials over both.

pub mod config_map;
pub mod container_credentials;
pub mod container_credentials_file;
mod followed;
mod glob;
pub mod mapping;
pub mod role_policy;

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    sync::Arc,
};

pub use self::followed::News;
use self::{
    container_credentials::ContainerCredentialsList, followed::Followed, mapping::Mapping,
    role_policy::RolePolicy,
};
use crate::injection::{
    account::Account,
    annotation_keys::AnnotationKeys,
    resolver::{OwnAnnotations, Resolver},
};

/// Resolves accounts: the one place that knows which source takes precedence. Annotations take precedence over the mapping,
/// and container credentials over both.
#[derive(Debug)]
pub struct Assignments {
    resolver: Arc<Resolver>,
    mapping: Followed<Mapping>,
    /// Which roles of the mapping a namespace may use; any, without one.
    role_policy: Option<RolePolicy>,
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
    /// Those of these namespaces.
    Namespaces(HashSet<Arc<str>>),
}

impl Assignments {
    /// Resolves by annotations alone.
    pub fn new(resolver: Arc<Resolver>) -> Self {
        Self {
            resolver,
            mapping: Followed::default(),
            role_policy: None,
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

    /// Gives roles of the mapping only to namespaces that permit them.
    pub fn under_role_policy(mut self, policy: Option<RolePolicy>) -> Self {
        self.role_policy = policy;
        self
    }

    /// Follows the lists of accounts with container credentials that come.
    pub fn following_container_credentials(mut self, news: Option<News<ContainerCredentialsList>>) -> Self {
        self.container_credentials.follow(news);
        self
    }

    /// The resolver of annotations.
    pub fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// Waits until every source that is followed has been read. Before, nothing is certain of an account that names no role.
    pub async fn ready(&mut self) {
        if self.mapping.is_awaited() {
            let mapping = self.mapping.next().await;
            self.set_mapping(mapping);
        }
        if let Some(policy) = &mut self.role_policy {
            policy.ready().await;
        }
        if self.container_credentials.is_awaited() {
            let list = self.container_credentials.next().await;
            self.set_container_credentials(list);
        }
    }

    /// Waits until accounts may be given something else than before; forever, where nothing is followed.
    pub async fn changed(&mut self) -> Change {
        let role_policy = async {
            match &mut self.role_policy {
                Some(policy) => policy.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            mapping = self.mapping.next() => self.set_mapping(mapping),
            namespaces = role_policy => Change::Namespaces(namespaces),
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

    /// What an account with these annotations is given; `None` while its namespace is not known, which decides about its role.
    pub fn resolve<'a>(
        &mut self,
        namespace: &str,
        name: &str,
        annotations: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    ) -> Option<Account> {
        let account = self.resolver.resolve(annotations.clone());
        if !self.has_other_sources() {
            return Some(account);
        }
        if account.has_annotated_role() {
            self.forget(namespace, name);
            return self.with_container_credentials(namespace, name, Some(account));
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
    pub fn resolve_again(&self, namespace: &str, name: &str, known: Option<&Account>) -> Option<Account> {
        let before = known.map(Account::without_container_credentials);
        let account = match before {
            Some(before) if before.has_annotated_role() => Some(before.clone()),
            _ => self.mapped(namespace, name, before.cloned().unwrap_or(Account::Nothing)),
        };
        if let (Some(known), Some(before), Some(account)) = (known, before, &account)
            && self.is_listed(namespace, name)
            && !before.is_same(known)
            && before.is_same(account)
        {
            return Some(known.clone());
        }
        self.with_container_credentials(namespace, name, account)
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
    fn mapped(&self, namespace: &str, name: &str, account: Account) -> Option<Account> {
        let Some(mapping) = &self.mapping.current else { return Some(account) };
        let account =
            mapping.resolve(&self.resolver, (namespace, name), self.annotations_of(namespace, name));
        match &self.role_policy {
            Some(policy) => policy.apply(namespace, account),
            None => Some(account),
        }
    }

    /// Container credentials take precedence, also over a role that is not decided yet.
    fn with_container_credentials(
        &self,
        namespace: &str,
        name: &str,
        account: Option<Account>,
    ) -> Option<Account> {
        if !self.is_listed(namespace, name) {
            return account;
        }
        let account = account.unwrap_or(Account::Nothing);
        Some(self.resolver.container_credentials(account, self.annotations_of(namespace, name)))
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
