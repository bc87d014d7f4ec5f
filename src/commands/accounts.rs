//! The cluster's ServiceAccounts, and the mistakes in their annotations.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    injection::{account::Account, near_miss, settings::AnnotationPrefix, warning::quote},
    kube::{
        call::CallError,
        collection::{Collection, Form},
    },
};

/// The metadata of a ServiceAccount.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListedAccount {
    pub(super) namespace: String,
    pub(super) name: String,
    annotations: BTreeMap<String, Option<String>>,
}

#[derive(Deserialize)]
struct Object {
    metadata: ListedAccount,
}

impl ListedAccount {
    pub(super) fn annotations(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.annotations.iter().map(|(key, value)| (&**key, value.as_deref().unwrap_or_default()))
    }

    /// What is wrong with its annotations, which give this account.
    pub(super) fn mistakes(&self, account: &Account, prefix: &AnnotationPrefix) -> Vec<String> {
        let short = prefix.key("");
        let near_misses = self.annotations.keys().filter_map(|key| {
            let meant = near_miss::meant(key, short.trim_end_matches('/'))?;
            Some(format!("annotation {} is not read: is {} meant?", quote(key), prefix.key(meant)))
        });
        let warnings = account.grant().map_or(&[][..], |grant| &grant.settings.warnings);
        near_misses.chain(warnings.iter().map(|warning| warning.as_ref().to_owned())).collect()
    }
}

/// Lists the accounts of a namespace, or all, one at a time.
pub(super) async fn list(
    client: kube::Client,
    namespace: Option<&str>,
    mut each: impl FnMut(ListedAccount),
) -> Result<(), CallError> {
    let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let path = format!("/api/v1{namespace}/serviceaccounts");
    let accounts = Collection { client, path, selector: String::new(), form: Form::Metadata };
    let mut accounts = accounts.list().await?;
    while let Some(account) = accounts.next().await? {
        let Object { metadata } =
            serde_json::from_slice(&account).map_err(|error| CallError::Unreadable(error.to_string()))?;
        each(metadata);
    }
    Ok(())
}
