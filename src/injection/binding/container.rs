//! Container credentials in place of a role, and back: what an account is annotated with stays.

use std::sync::Arc;

use super::{Account, Binder, Binding, Terms};
use crate::injection::{settings::ContainerCredentials, warning::WarningKind};

impl Binder {
    /// Gives container credentials to the pods of an account, whatever role it has.
    pub fn contained(&self, account: Account) -> Account {
        let Some(credentials) = &self.settings.container_credentials else { return account };
        let (role_env, without) = match account {
            Account::Annotated(binding) if binding.terms.without.is_some() => {
                return Account::Annotated(binding);
            }
            Account::Annotated(binding) => (binding.role_env.clone(), Arc::clone(&binding.terms)),
            Account::Unannotated => (Box::default(), Arc::clone(&self.defaults)),
        };
        let terms = Arc::new(self.container_terms(credentials, without));
        Account::Annotated(Arc::new(Binding { role_env, terms }))
    }

    /// What an account is given without container credentials.
    pub fn uncontained(&self, account: Account) -> Account {
        let Account::Annotated(binding) = &account else { return account };
        let Some(terms) = binding.terms.without.clone() else { return account };
        if binding.role_env.is_empty() && Arc::ptr_eq(&terms, &self.defaults) {
            return Account::Unannotated;
        }
        Account::Annotated(Arc::new(Binding { role_env: binding.role_env.clone(), terms }))
    }

    /// The agent has an audience of its own; lifetime, region and containers are the account's to say. That its role is no
    /// ARN does not matter.
    fn container_terms(&self, credentials: &ContainerCredentials, without: Arc<Terms>) -> Terms {
        let (name, path) = (credentials.volume_name.as_ref(), credentials.token_path.as_ref());
        let warnings = without.warnings.iter().filter(|warning| warning.kind() != WarningKind::RoleArn);
        Terms {
            audience: credentials.audience.as_ref().into(),
            volume: Self::render_volume(name, credentials.audience.as_ref(), without.token_expiration, path),
            warnings: warnings.cloned().collect(),
            ..Terms { without: Some(Arc::clone(&without)), ..(*without).clone() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::settings::Settings;

    const ROLE: (&str, &str) = ("eks.amazonaws.com/role-arn", "my-role");
    const LIFETIME: (&str, &str) = ("eks.amazonaws.com/token-expiration", "7200");

    fn binder() -> Binder {
        let container_credentials = Some(ContainerCredentials::default());
        Binder::new(Arc::new(Settings { container_credentials, ..Settings::default() }))
    }

    #[test]
    fn an_account_gets_them_and_is_what_it_was_without_them() {
        let binder = binder();
        for annotations in [&[][..], &[ROLE], &[LIFETIME], &[ROLE, LIFETIME]] {
            let before = binder.bind(annotations.iter().copied());
            let Account::Annotated(with) = binder.contained(before.clone()) else { panic!("it got none") };
            assert!(with.has_container_credentials() && !with.has_role(), "{annotations:?}");
            assert!(with.terms.warnings.is_empty());
            let volume = std::str::from_utf8(&with.terms.volume).unwrap();
            let lifetime = if annotations.contains(&LIFETIME) { 7200 } else { 3600 };
            let token = format!(
                r#"{{"audience":"pods.eks.amazonaws.com","expirationSeconds":{lifetime},"path":"eks-pod-identity-token"}}"#
            );
            assert!(volume.contains(&token), "{volume}");
            let after = binder.uncontained(binder.contained(Account::Annotated(with)));
            assert_eq!(format!("{after:?}"), format!("{before:?}"));
        }
    }

    #[test]
    fn what_an_account_without_a_role_is_annotated_with_is_kept_where_it_may_matter() {
        assert!(matches!(Binder::new(Arc::default()).bind([LIFETIME]), Account::Unannotated));
        assert!(matches!(binder().bind([("other", "x")]), Account::Unannotated));
        let Account::Annotated(binding) = binder().bind([LIFETIME]) else { panic!("not kept") };
        assert!(!binding.has_role() && !binding.has_container_credentials());
    }
}
