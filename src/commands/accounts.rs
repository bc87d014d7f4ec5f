//! The cluster's ServiceAccounts, and the mistakes in their annotations.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    injection::{account::Account, warning::Warning},
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
}

/// What is wrong with the annotations of an account.
pub(super) fn mistakes(account: &Account) -> Vec<String> {
    let text = |warning: &Warning| {
        let text = warning.as_ref();
        text.strip_prefix("ServiceAccount ").unwrap_or(text).to_owned()
    };
    account.warnings().iter().map(text).collect()
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
        let Object { metadata } = serde_json::from_slice(&account)?;
        each(metadata);
    }
    Ok(())
}
