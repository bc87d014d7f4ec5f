//! ServiceAccounts from the cluster, once.

use kube::Client;

use super::service_accounts::ServiceAccounts;
use crate::{
    accounts::{assignments::Assignments, cache::Writer},
    kube::call::CallError,
};

/// Lists the accounts of a namespace, or all, as metadata only.
pub async fn list(
    client: Client,
    namespace: Option<&str>,
    assignments: &mut Assignments,
    writer: &mut Writer,
) -> Result<(), CallError> {
    let mut accounts = ServiceAccounts::new(client, namespace, assignments.annotation_keys()).list().await?;
    writer.begin_list();
    while let Some(meta) = accounts.next().await? {
        let account = assignments.resolve(&meta.namespace, &meta.name, meta.annotations());
        writer.listed(&meta.namespace, &meta.name, account);
    }
    writer.end_list();
    Ok(())
}
