//! ServiceAccounts from the cluster, once.

use std::sync::Arc;

use kube::{Api, Client, ResourceExt, api::ListParams};

use super::metadata::AccountMeta;
use crate::{
    accounts::{
        assignments::{container_credentials::Identities, mapping::Mapping, roles::Roles},
        cache::Writer,
    },
    injection::binding::Binder,
};

/// How many accounts are asked for at once.
const PAGE: u32 = 500;

/// What accounts are given, by their annotations and otherwise.
#[derive(Debug)]
pub struct Given {
    /// By their annotations.
    pub binder: Arc<Binder>,
    /// By a ConfigMap, if there is one.
    pub mapping: Option<Mapping>,
    /// By a file of container credentials.
    pub identities: Identities,
}

/// Lists the accounts of a namespace, or all, as metadata only and page by page.
pub async fn list(
    client: Client,
    namespace: Option<&str>,
    given: Given,
    writer: &mut Writer,
) -> kube::Result<()> {
    let mut roles = Roles::new(given.binder, Arc::new(given.identities));
    if let Some(mapping) = given.mapping {
        roles.take(Arc::new(mapping), writer);
    }
    let accounts: Api<AccountMeta> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let mut params = ListParams::default().limit(PAGE);
    writer.begin_list();
    loop {
        let page = accounts.list(&params).await?;
        for meta in page.items {
            let annotations = meta.annotations().iter().map(|(key, value)| (&**key, &**value));
            let (namespace, name) = (meta.namespace().unwrap_or_default(), meta.name_any());
            let account = roles.bind(&namespace, &name, annotations);
            writer.listed(&namespace, &name, account);
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            writer.end_list();
            return Ok(());
        }
    }
}
