//! Container credentials in place of a role.

use std::sync::Arc;

use super::{OwnAnnotations, Resolver, account_settings, render_volume};
use crate::injection::{
    account::{Account, AccountSettings, Credentials, Grant},
    settings::ContainerCredentials,
    warning::{Warning, WarningKind},
};

impl Resolver {
    /// Gives container credentials to the pods of an account, in place of what it has. `annotations` are those of an account
    /// without a role.
    pub fn container_credentials(&self, account: Account, annotations: &OwnAnnotations) -> Account {
        let Some(credentials) = &self.settings.container_credentials else { return account };
        let in_place_of = account.without_container_credentials().clone();
        let settings = match in_place_of.grant() {
            Some(grant) => Arc::clone(&grant.settings),
            None => {
                let annotations = self.pick(annotations.iter());
                account_settings::read(self, None, &annotations, None)
            }
        };
        let settings = Arc::new(self.for_container_credentials(credentials, &settings));
        Account::Granted(Arc::new(Grant { credentials: Credentials::Container { in_place_of }, settings }))
    }

    /// The agent has its own audience. Lifetime, region and containers are those of the account. Whether the role is an ARN,
    /// and its partition, do not matter.
    fn for_container_credentials(
        &self,
        credentials: &ContainerCredentials,
        settings: &AccountSettings,
    ) -> AccountSettings {
        let (name, path) = (credentials.volume_name.as_ref(), credentials.token_path.as_ref());
        let is_of_role =
            |warning: &&Warning| matches!(warning.kind(), WarningKind::RoleArn | WarningKind::Region);
        let is_withheld = settings.region.is_none()
            && settings.warnings.iter().any(|warning| warning.kind() == WarningKind::Region);
        AccountSettings {
            audience: credentials.audience.as_ref().into(),
            volume: render_volume(name, credentials.audience.as_ref(), settings.token_expiration, path),
            region: if is_withheld { self.defaults.region.clone() } else { settings.region.clone() },
            warnings: settings.warnings.iter().filter(|warning| !is_of_role(warning)).cloned().collect(),
            ..settings.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::settings::Settings;

    const ROLE: (&str, &str) = ("eks.amazonaws.com/role-arn", "my-role");
    const LIFETIME: (&str, &str) = ("eks.amazonaws.com/token-expiration", "7200");

    #[test]
    fn an_account_gets_them_and_is_what_it_was_without_them() {
        let container_credentials = Some(ContainerCredentials::default());
        let resolver = Resolver::new(Arc::new(Settings { container_credentials, ..Settings::default() }));
        for annotations in [&[][..], &[ROLE], &[LIFETIME], &[ROLE, LIFETIME]] {
            let before = resolver.resolve(annotations.iter().copied());
            let own = resolver.own(annotations.iter().copied());
            let account = resolver.container_credentials(before.clone(), &own);
            let grant = account.grant().unwrap();
            assert!(matches!(grant.credentials, Credentials::Container { .. }), "{annotations:?}");
            assert!(grant.settings.warnings.is_empty() && grant.role().is_none());
            assert_eq!(grant.assigned_role().is_some(), annotations.contains(&ROLE));
            let volume = std::str::from_utf8(&grant.settings.volume).unwrap();
            let lifetime = if annotations.contains(&LIFETIME) { 7200 } else { 3600 };
            let token = format!(
                r#"{{"audience":"pods.eks.amazonaws.com","expirationSeconds":{lifetime},"path":"eks-pod-identity-token"}}"#
            );
            assert!(volume.contains(&token), "{volume}");
            let twice = resolver.container_credentials(account.clone(), &own);
            assert!(twice.without_container_credentials().is_same(&before));
        }
    }
}
