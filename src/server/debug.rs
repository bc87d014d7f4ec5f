//! The debug pages: the configuration, and the known accounts. They are off by default, since everyone who can reach the
//! admin port can read them. They contain no secrets.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::reply::Reply;
use crate::{
    accounts::cache::{Cache, State},
    admission::Outcome,
    injection::{
        account::{Account, Credentials, Grant, Role},
        container_names::ContainerNames,
        settings::Settings,
        variable::Variable,
        warning::Warning,
    },
    metrics::Label,
};

/// How many accounts of a namespace are shown.
const MAX_SHOWN: usize = 1000;

/// The pages below `/debug`.
#[derive(Debug)]
pub struct DebugPages {
    config: Value,
    cache: Arc<Cache>,
    settings: Arc<Settings>,
}

/// One of them.
pub(super) enum Page<'a> {
    Config(&'a Value),
    Accounts(&'a DebugPages),
}

impl DebugPages {
    /// Pages that show this configuration and this cache.
    pub fn new(config: Value, cache: Arc<Cache>, settings: Arc<Settings>) -> Self {
        Self { config, cache, settings }
    }

    pub(super) fn page(&self, path: &str) -> Option<Page<'_>> {
        match path {
            "/debug/config" => Some(Page::Config(&self.config)),
            "/debug/accounts" => Some(Page::Accounts(self)),
            _ => None,
        }
    }

    fn account(&self, namespace: &str, name: &str) -> Value {
        match self.cache.look_up(namespace, name) {
            Some(Account::Granted(grant)) => self.granted(namespace, name, &grant),
            Some(account @ (Account::Nothing | Account::Mistaken(_))) => json!({
                "namespace": namespace, "name": name, "state": State::of(&account).label(),
                "pods": "left alone", "reason": Outcome::NoRole.reason(), "warnings": texts(account.warnings()),
            }),
            None => {
                let is_synced = self.cache.is_synced();
                let outcome = if is_synced { Outcome::UnknownAccount } else { Outcome::NotSynced };
                json!({
                    "namespace": namespace, "name": name, "state": "unknown",
                    "pods": "wait for it, and are answered with 503 if it does not come",
                    "reason": outcome.reason(),
                })
            }
        }
    }

    /// What pods of the account are given, and the labels, annotations and mounts of a pod that change this.
    fn granted(&self, namespace: &str, name: &str, grant: &Arc<Grant>) -> Value {
        let (account, settings) = (&*grant.settings, &*self.settings);
        let label = settings.annotation_prefix.key("skip-pod-identity-webhook");
        let credentials = settings.container_credentials.as_ref();
        let credentials = credentials.filter(|_| matches!(grant.credentials, Credentials::Container { .. }));
        let mount_path =
            credentials.map_or(&settings.mount_path, |credentials| &credentials.mount_path).as_ref();
        let outcome = if credentials.is_some() { Outcome::ContainerCredentials } else { Outcome::Injected };
        json!({
            "namespace": namespace, "name": name, "state": state(grant),
            "pods": "injected", "reason": outcome.reason(),
            "unless": {
                Outcome::AlreadyInjected.reason(): "the pod already has everything",
                Outcome::SkipLabel.reason(): format!("the pod has the label {label}"),
                Outcome::MirrorPod.reason(): "the pod mirrors a static pod of a node",
                Outcome::NotPatchable.reason(): "the pod exists already, and no ephemeral container is added",
                Outcome::NoContainer.reason(): format!(
                    "skip-containers, include-containers or other mounts at {mount_path} exclude every container"
                ),
                Outcome::NoVolume.reason(): "an ephemeral container is added to a pod that was never injected",
            },
            "roleArn": grant.assigned_role().map(Role::arn),
            "mappedBy": account.mapped_by.as_deref(),
            "containerCredentials": credentials.map(|credentials| credentials.full_uri.as_ref()),
            "audience": &*account.audience,
            "tokenExpirationSeconds": account.token_expiration.seconds(),
            "region": account.region.as_ref().map(|region| region.name.as_ref()),
            "sessionName": account.session_name.to_string(),
            "stsRegionalEndpoints": account.gives(Variable::StsRegionalEndpoints),
            "skipContainers": account.skip_containers.as_ref().map(joined),
            "includeContainers": account.include_containers.as_ref().map(joined),
            "warnings": texts(&account.warnings),
        })
    }

    fn namespace(&self, namespace: &str) -> Value {
        let mut accounts = self.cache.accounts_of(namespace);
        accounts.sort_by(|(a, _), (b, _)| a.cmp(b));
        let known = accounts.len();
        let shown = accounts.iter().take(MAX_SHOWN).map(|(name, account)| match account {
            Account::Granted(grant) => {
                let role = grant.assigned_role().map(Role::arn);
                json!({"name": name, "state": state(grant), "roleArn": role})
            }
            Account::Nothing | Account::Mistaken(_) => {
                json!({"name": name, "state": State::of(account).label()})
            }
        });
        json!({
            "namespace": namespace,
            "synced": self.cache.is_synced(),
            "known": known,
            "accounts": shown.collect::<Vec<_>>(),
        })
    }
}

impl Page<'_> {
    pub(super) fn reply(&self, query: &str) -> Reply {
        let parameter = |name: &str| {
            query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name)
        };
        let value = match (self, parameter("namespace"), parameter("name")) {
            (Self::Config(config), _, _) => (*config).clone(),
            (Self::Accounts(pages), Some((_, namespace)), Some((_, name))) => pages.account(namespace, name),
            (Self::Accounts(pages), Some((_, namespace)), None) => pages.namespace(namespace),
            (Self::Accounts(_), None, _) => {
                let want = "want ?namespace=<namespace>, and &name=<ServiceAccount> for one account";
                return Reply::text(StatusCode::BAD_REQUEST, want);
            }
        };
        Reply::ok("application/json", format!("{value:#}\n"))
    }
}

fn texts(warnings: &[Warning]) -> Vec<&str> {
    warnings.iter().map(AsRef::as_ref).collect()
}

fn joined(names: &ContainerNames) -> String {
    names.iter().collect::<Vec<_>>().join(",")
}

fn state(grant: &Arc<Grant>) -> &'static str {
    State::of(&Account::Granted(Arc::clone(grant))).label()
}
