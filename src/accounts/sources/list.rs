//! ServiceAccounts from the cluster, once.

use kube::{Api, Client, ResourceExt, api::ListParams};

use super::metadata::AccountMeta;
use crate::accounts::{assignments::Assignments, cache::Writer};

/// How many accounts are asked for at once.
const PAGE: u32 = 500;

/// Lists the accounts of a namespace, or all, as metadata only and page by page.
pub async fn list(
    client: Client,
    namespace: Option<&str>,
    assignments: &mut Assignments,
    writer: &mut Writer,
) -> kube::Result<()> {
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
            let account = assignments.resolve(&namespace, &name, annotations);
            writer.listed(&namespace, &name, account);
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            writer.end_list();
            return Ok(());
        }
    }
}
