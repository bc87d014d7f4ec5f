//! Annotations, or a mapping in place of a role, → an account.

use std::sync::Arc;

use super::{
    Account, Binding, Mapped, RegionEnv, Terms,
    annotations::{Annotations, non_empty},
    terms,
};
use crate::injection::{
    render, role_arn,
    settings::{Settings, TOKEN_PATH, TokenExpiration},
};

/// Turns annotations into [`Account`]s under given settings.
#[derive(Debug)]
pub struct Binder {
    pub(super) settings: Arc<Settings>,
    pub(super) defaults: Arc<Terms>,
}

impl Binder {
    /// A binder for these settings, with their defaults rendered.
    pub fn new(settings: Arc<Settings>) -> Self {
        let audience: Arc<str> = settings.token_audience.as_ref().into();
        let defaults = Terms {
            volume: Self::render_volume(
                settings.volume_name.as_ref(),
                &audience,
                settings.token_expiration,
                TOKEN_PATH,
            ),
            audience,
            token_expiration: settings.token_expiration,
            region: RegionEnv::new(&settings.region).map(Arc::new),
            sts_regional_endpoints: settings.sts_regional_endpoints,
            skip_containers: None,
            include_containers: None,
            warnings: Box::default(),
            mapped_by: None,
            without: None,
        };
        Self { settings, defaults: Arc::new(defaults) }
    }

    /// Reads the annotations of one ServiceAccount.
    pub fn bind<'a>(&self, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Account {
        let annotations = Annotations::pick(annotations, &self.settings);
        self.with_role(annotations.role_arn, &annotations, None)
    }

    /// Gives the role of a mapping to a ServiceAccount that names none itself. What else it is annotated with wins over
    /// what the mapping says.
    pub fn bind_mapped<'a>(
        &self,
        mapped: &'a Mapped,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Account {
        let annotations = Annotations::pick(annotations, &self.settings);
        self.with_role(non_empty(&mapped.role), &annotations, Some(mapped))
    }

    /// Those of the annotations that are read here.
    pub fn own<'a>(
        &self,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Box<[(Box<str>, Box<str>)]> {
        let prefix = &self.settings.annotation_prefix;
        let own = annotations.into_iter().filter(|(key, _)| prefix.strip(key).is_some());
        own.map(|(key, value)| (key.into(), value.into())).collect()
    }

    fn with_role(
        &self,
        role: Option<&str>,
        annotations: &Annotations<'_>,
        mapped: Option<&Mapped>,
    ) -> Account {
        let Some(role) = role else { return self.without_role(annotations, mapped) };
        let role_arn = role_arn::complete(role, self.settings.role_owner.as_ref());
        Account::Annotated(Arc::new(Binding {
            role_env: render::to_vec(|out| render::env(out, render::ROLE_ARN, &role_arn)).into(),
            terms: terms::read(self, Some(&role_arn), annotations, mapped),
        }))
    }

    /// What else an account is annotated with matters where it may be given container credentials.
    fn without_role(&self, annotations: &Annotations<'_>, mapped: Option<&Mapped>) -> Account {
        if self.settings.container_credentials.is_none() || *annotations == Annotations::default() {
            return Account::Unannotated;
        }
        let terms = terms::read(self, None, annotations, mapped);
        Account::Annotated(Arc::new(Binding { role_env: Box::default(), terms }))
    }

    pub(super) fn render_volume(
        name: &str,
        audience: &str,
        expiration: TokenExpiration,
        path: &str,
    ) -> Arc<[u8]> {
        render::to_vec(|out| render::volume(out, name, audience, expiration, path)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(annotations: &[(&str, &str)]) -> Option<Arc<Binding>> {
        match Binder::new(Arc::default()).bind(annotations.iter().copied()) {
            Account::Annotated(binding) => Some(binding),
            Account::Unannotated => None,
        }
    }

    const ROLE: (&str, &str) = ("eks.amazonaws.com/role-arn", "arn:aws:iam::111122223333:role/app");

    #[test]
    fn an_absent_or_empty_role_is_no_role() {
        assert!(bind(&[]).is_none());
        assert!(bind(&[("eks.amazonaws.com/role-arn", " \n")]).is_none());
        assert!(bind(&[("other.example.com/role-arn", ROLE.1)]).is_none());
    }

    #[test]
    fn the_role_is_trimmed_and_escaped() {
        let binding = bind(&[("eks.amazonaws.com/role-arn", " a\"b\n")]).unwrap();
        assert_eq!(binding.role_env(), br#"{"name":"AWS_ROLE_ARN","value":"a\"b"}"#);
        assert_eq!(binding.role_arn_json(), br#""a\"b""#);
        assert!(binding.role_env().starts_with(Binding::ROLE_ENV_HEAD));
    }

    #[test]
    fn bad_annotations_are_warned_of_and_fall_back() {
        let binding = bind(&[
            ("eks.amazonaws.com/role-arn", "app"),
            ("eks.amazonaws.com/token-expiration", "forever"),
            ("eks.amazonaws.com/sts-regional-endpoints", "maybe"),
        ])
        .unwrap();
        assert_eq!(binding.terms.token_expiration.seconds(), 3600);
        assert!(!binding.terms.sts_regional_endpoints);
        assert_eq!(binding.terms.warnings.len(), 3, "{:?}", binding.terms.warnings);
    }

    #[test]
    fn an_empty_audience_is_the_default_and_an_empty_region_is_none() {
        let binding =
            bind(&[ROLE, ("eks.amazonaws.com/audience", ""), ("eks.amazonaws.com/region", "")]).unwrap();
        assert_eq!(&*binding.terms.audience, "sts.amazonaws.com");
        assert!(binding.terms.region.is_none());
        assert!(binding.terms.warnings.is_empty());
    }

    #[test]
    fn values_that_go_into_every_container_are_bounded() {
        let long = "é".repeat(100_000);
        let binding =
            bind(&[("eks.amazonaws.com/role-arn", &long), ("eks.amazonaws.com/region", &long)]).unwrap();
        assert_eq!(binding.role_arn_json().len(), 2 + 2 * role_arn::MAX_CHARS);
        assert_eq!(
            &*binding.terms.region.as_ref().unwrap().region,
            br#"{"name":"AWS_REGION","value":"us-east-1"}"#
        );
        assert_eq!(binding.terms.warnings.len(), 2, "{:?}", binding.terms.warnings);
    }

    #[test]
    fn annotations_of_the_account_win_over_the_settings() {
        let binding = bind(&[
            ROLE,
            ("eks.amazonaws.com/audience", "vault"),
            ("eks.amazonaws.com/token-expiration", "60"),
            ("eks.amazonaws.com/region", "eu-central-1"),
            ("eks.amazonaws.com/sts-regional-endpoints", "true"),
        ])
        .unwrap();
        let volume = std::str::from_utf8(&binding.terms.volume).unwrap();
        assert!(volume.contains(r#""audience":"vault","expirationSeconds":600"#), "{volume}");
        assert_eq!(
            &*binding.terms.region.as_ref().unwrap().default_region,
            br#"{"name":"AWS_DEFAULT_REGION","value":"eu-central-1"}"#
        );
        assert!(binding.terms.sts_regional_endpoints);
    }
}
