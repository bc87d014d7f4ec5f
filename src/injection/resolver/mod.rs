//! Annotations, or a mapping in place of a role, → an account.

mod account_settings;
mod annotations;
mod container_credentials;

use std::sync::Arc;

use self::annotations::{Annotations, non_empty};
pub use self::annotations::{OwnAnnotations, parse_bool};
use super::{
    account::{Account, AccountSettings, Credentials, Grant, Mistakes, RegionEnv, Role},
    annotation::Annotation,
    annotation_keys::AnnotationKeys,
    region::{PARTITIONS, is_of_other_partition},
    render, role_arn,
    settings::{Settings, TOKEN_PATH, TokenExpiration},
};

/// Turns what ServiceAccounts are annotated with, or mapped to, into [`Account`]s.
#[derive(Debug)]
pub struct Resolver {
    settings: Arc<Settings>,
    keys: AnnotationKeys,
    defaults: Arc<AccountSettings>,
    /// For roles of other partitions than the region: the defaults without a region, by partition.
    defaults_without_region: Vec<(&'static str, Arc<AccountSettings>)>,
}

/// The entry of a role mapping, which takes the place of annotations.
#[derive(Debug)]
pub struct Mapped {
    /// Its key: `payments/api`, `test-*/api`.
    pub key: Arc<str>,
    /// The role; empty for none.
    pub role: Box<str>,
    /// The audience of the token.
    pub audience: Option<Box<str>>,
    /// The lifetime requested for the token, as it was written: a whole number of seconds.
    pub token_expiration: Option<Box<str>>,
    /// Whether `AWS_STS_REGIONAL_ENDPOINTS=regional` is injected.
    pub sts_regional_endpoints: Option<bool>,
}

impl Resolver {
    /// A resolver for these settings, with their defaults rendered.
    pub fn new(settings: Arc<Settings>) -> Self {
        let audience: Arc<str> = settings.token_audience.as_ref().into();
        let defaults = AccountSettings {
            volume: render_volume(
                settings.volume_name.as_ref(),
                &audience,
                settings.token_expiration,
                TOKEN_PATH,
            ),
            audience,
            token_expiration: settings.token_expiration,
            region: RegionEnv::new(&settings.region)
                .map(|region| Arc::new(RegionEnv { is_built_in: settings.region_is_built_in, ..region })),
            variables: account_settings::render_variables(&[account_settings::sts_regional(
                settings.sts_regional_endpoints,
            )]),
            session_name: settings.session_name,
            skip_containers: None,
            include_containers: None,
            warnings: Box::default(),
            mapped_by: None,
        };
        let keys = AnnotationKeys::of(&settings);
        let mut resolver =
            Self { settings, keys, defaults: Arc::new(defaults), defaults_without_region: Vec::new() };
        if resolver.settings.compat.rules().withhold_region_of_other_partition {
            resolver.defaults_without_region = resolver.without_region().collect();
        }
        resolver
    }

    fn without_region(&self) -> impl Iterator<Item = (&'static str, Arc<AccountSettings>)> {
        let region = &self.settings.region;
        let others =
            PARTITIONS.into_iter().filter(|partition| is_of_other_partition(region.as_ref(), partition));
        others.map(|partition| {
            let warnings = Box::new([account_settings::withheld_region(region, partition)]);
            let settings = AccountSettings { region: None, warnings, ..(*self.defaults).clone() };
            (partition, Arc::new(settings))
        })
    }

    /// The defaults for a role of this partition.
    fn defaults_in(&self, partition: Option<&str>) -> &Arc<AccountSettings> {
        let mut without_region = self.defaults_without_region.iter();
        let found = partition.and_then(|partition| without_region.find(|(of, _)| *of == partition));
        found.map_or(&self.defaults, |(_, defaults)| defaults)
    }

    /// Whether a short name is completed that begins with `role/`, as an ARN does behind its account.
    fn has_role_in_name(&self, role: &str) -> bool {
        self.settings.role_owner.is_some() && role.trim_start_matches('/').starts_with("role/")
    }

    /// The annotations that matter.
    pub fn annotation_keys(&self) -> AnnotationKeys {
        self.keys.clone()
    }

    /// What a ServiceAccount is given by its annotations alone.
    pub fn resolve<'a>(&self, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Account {
        let annotations = self.pick(annotations);
        self.with_role(annotations.get(Annotation::RoleArn), &annotations, None)
    }

    /// What a ServiceAccount without an annotated role is given by a mapping. Its annotations take precedence over what the
    /// mapping says.
    pub fn resolve_mapped<'a>(
        &self,
        mapped: &'a Mapped,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Account {
        let annotations = self.pick(annotations);
        self.with_role(non_empty(&mapped.role), &annotations, Some(mapped))
    }

    /// The annotations that this program reads, to be resolved again later.
    pub fn own<'a>(&self, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> OwnAnnotations {
        OwnAnnotations::pick(annotations, &self.keys)
    }

    fn pick<'a>(&self, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Annotations<'a> {
        Annotations::pick(annotations, &self.settings, &self.keys)
    }

    fn with_role(
        &self,
        role: Option<&str>,
        annotations: &Annotations<'_>,
        mapped: Option<&Mapped>,
    ) -> Account {
        let Some(role) = role else {
            if annotations.mistakes.is_empty() {
                return Account::Nothing;
            }
            let warnings = account_settings::warnings_of_mistakes(annotations);
            return Account::Mistaken(Arc::new(Mistakes { warnings }));
        };
        let arn = role_arn::complete(role, self.settings.role_owner.as_ref());
        Account::Granted(Arc::new(Grant {
            credentials: Credentials::Role(Role::new(&arn)),
            settings: account_settings::read(self, Some((role, &arn)), annotations, mapped),
        }))
    }
}

fn render_volume(name: &str, audience: &str, expiration: TokenExpiration, path: &str) -> Arc<[u8]> {
    render::to_vec(|out| render::volume(out, name, audience, expiration.seconds(), path)).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::variable::Variable;

    fn resolve(annotations: &[(&str, &str)]) -> Option<Arc<Grant>> {
        Resolver::new(Arc::default()).resolve(annotations.iter().copied()).grant().cloned()
    }

    const ROLE: (&str, &str) = ("eks.amazonaws.com/role-arn", "arn:aws:iam::111122223333:role/app");

    #[test]
    fn an_account_without_a_role_is_given_nothing() {
        assert!(resolve(&[]).is_none());
        assert!(resolve(&[("eks.amazonaws.com/role-arn", " \n")]).is_none());
        assert!(resolve(&[("other.example.com/role-arn", ROLE.1)]).is_none());
    }

    #[test]
    fn the_role_is_trimmed() {
        let grant = resolve(&[("eks.amazonaws.com/role-arn", " a\"b\n")]).unwrap();
        assert_eq!(grant.role().unwrap().arn(), "a\"b");
    }

    #[test]
    fn bad_annotations_are_warned_of_and_fall_back() {
        let grant = resolve(&[
            ("eks.amazonaws.com/role-arn", "app"),
            ("eks.amazonaws.com/token-expiration", "forever"),
            ("eks.amazonaws.com/sts-regional-endpoints", "maybe"),
        ])
        .unwrap();
        assert_eq!(grant.settings.token_expiration.seconds(), 3600);
        assert!(!grant.settings.gives(Variable::StsRegionalEndpoints));
        assert_eq!(grant.settings.warnings.len(), 3, "{:?}", grant.settings.warnings);
    }

    #[test]
    fn an_empty_audience_is_the_default_and_an_empty_region_is_none() {
        let grant =
            resolve(&[ROLE, ("eks.amazonaws.com/audience", ""), ("eks.amazonaws.com/region", "")]).unwrap();
        assert_eq!(&*grant.settings.audience, "sts.amazonaws.com");
        assert!(grant.settings.region.is_none());
        assert!(grant.settings.warnings.is_empty());
    }

    #[test]
    fn values_that_go_into_every_container_are_bounded() {
        let long = "é".repeat(100_000);
        let grant =
            resolve(&[("eks.amazonaws.com/role-arn", &long), ("eks.amazonaws.com/region", &long)]).unwrap();
        assert_eq!(grant.role().unwrap().arn().len(), 2 * role_arn::MAX_CHARS);
        assert_eq!(
            &*grant.settings.region.as_ref().unwrap().region,
            br#"{"name":"AWS_REGION","value":"us-east-1"}"#
        );
        assert_eq!(grant.settings.warnings.len(), 2, "{:?}", grant.settings.warnings);
    }

    #[test]
    fn annotations_of_the_account_win_over_the_settings() {
        let grant = resolve(&[
            ROLE,
            ("eks.amazonaws.com/audience", "vault"),
            ("eks.amazonaws.com/token-expiration", "60"),
            ("eks.amazonaws.com/region", "eu-central-1"),
            ("eks.amazonaws.com/sts-regional-endpoints", "true"),
        ])
        .unwrap();
        let volume = std::str::from_utf8(&grant.settings.volume).unwrap();
        assert!(volume.contains(r#""audience":"vault","expirationSeconds":600"#), "{volume}");
        assert_eq!(
            &*grant.settings.region.as_ref().unwrap().default_region,
            br#"{"name":"AWS_DEFAULT_REGION","value":"eu-central-1"}"#
        );
        assert!(grant.settings.gives(Variable::StsRegionalEndpoints));
    }
}
