//! A ServiceAccount's annotations → what its pods are given, parsed and rendered once.

mod container;

use std::sync::Arc;

use crate::{
    render,
    role_arn::{self, is_role_arn},
    settings::{Region, Settings, TOKEN_PATH, TokenExpiration},
    warning::{Warning, WarningKind, quote},
};

/// A ServiceAccount as far as this program cares.
#[derive(Clone, Debug)]
pub enum Account {
    /// It has a role, or container credentials.
    Annotated(Arc<Binding>),
    /// It exists and names none: its pods are left alone.
    Unannotated,
}

impl Account {
    /// What it was annotated with or mapped to, if it was.
    pub fn binding(&self) -> Option<&Arc<Binding>> {
        match self {
            Self::Annotated(binding) => Some(binding),
            Self::Unannotated => None,
        }
    }

    /// Whether its role is annotated, so that no mapping counts.
    pub fn has_own_role(&self) -> bool {
        matches!(self, Self::Annotated(binding) if !binding.role_env.is_empty() && binding.mapped_by().is_none())
    }

    /// Whether it is the very same binding, or none either.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Annotated(one), Self::Annotated(other)) => Arc::ptr_eq(one, other),
            (Self::Unannotated, Self::Unannotated) => true,
            _ => false,
        }
    }
}

/// What the pods of one annotated ServiceAccount are given. A cluster has tens of thousands of these, and most differ in
/// nothing but the role.
#[derive(Debug)]
pub struct Binding {
    /// The env entry of the role; empty if it has none.
    role_env: Box<[u8]>,
    /// Shared by all accounts that are annotated with nothing else.
    pub terms: Arc<Terms>,
}

/// What the annotations of a ServiceAccount say beside the role. What equals the default is shared with it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The audience of the token.
    pub audience: Arc<str>,
    /// The lifetime asked for the token.
    pub token_expiration: TokenExpiration,
    /// The token's volume, under its default name and with the lifetime above.
    pub volume: Arc<[u8]>,
    /// The env entries of the region, if one is to be injected.
    pub region: Option<Arc<RegionEnv>>,
    /// Whether regional STS endpoints are asked for.
    pub sts_regional_endpoints: bool,
    /// `skip-containers` as annotated.
    pub skip_containers: Option<Box<str>>,
    /// `include-containers` as annotated.
    pub include_containers: Option<Box<str>>,
    /// What is wrong with the annotations, for those who create pods with them.
    pub warnings: Box<[Warning]>,
    /// The key of the role mapping that the role comes from, unless it is annotated.
    pub mapped_by: Option<Arc<str>>,
    /// Of container credentials: what the account is given without them.
    without: Option<Arc<Terms>>,
}

/// What a role mapping says in place of annotations.
#[derive(Debug)]
pub struct Mapped {
    /// Its key: `payments/api`, `test-*/api`.
    pub key: Arc<str>,
    /// The role; empty for none.
    pub role: Box<str>,
    /// The audience of the token.
    pub audience: Option<Box<str>>,
    /// The lifetime asked for the token.
    pub token_expiration: Option<TokenExpiration>,
    /// Whether regional STS endpoints are asked for.
    pub sts_regional_endpoints: Option<bool>,
}

impl Binding {
    const ROLE_ENV_HEAD: &[u8] = br#"{"name":"AWS_ROLE_ARN","value":"#;

    /// Whether its pods are given anything.
    pub fn gives_identity(&self) -> bool {
        !self.role_env.is_empty() || self.has_container_credentials()
    }

    /// Whether its pods are given a role.
    pub fn has_role(&self) -> bool {
        !self.role_env.is_empty() && !self.has_container_credentials()
    }

    /// Whether its pods are given container credentials, which go before any role.
    pub fn has_container_credentials(&self) -> bool {
        self.terms.without.is_some()
    }

    /// The env entry `AWS_ROLE_ARN`.
    pub fn role_env(&self) -> &[u8] {
        &self.role_env
    }

    /// Whether `value` is this role's ARN, as far as it needs no escapes: no real ARN does.
    pub fn is_role_arn(&self, value: &str) -> bool {
        let json = self.role_arn_json();
        &json[1..json.len() - 1] == value.as_bytes()
    }

    /// Whether the role has the form of an ARN. It is injected all the same.
    pub fn is_well_formed(&self) -> bool {
        !self.terms.warnings.iter().any(|warning| warning.kind() == WarningKind::RoleArn)
    }

    /// The key of the role mapping that the role comes from, unless it is annotated.
    pub fn mapped_by(&self) -> Option<&str> {
        self.terms.mapped_by.as_deref()
    }

    /// The role's ARN as a JSON string, quotes included; of none, `null`.
    pub fn role_arn_json(&self) -> &[u8] {
        if self.role_env.is_empty() {
            return b"null";
        }
        &self.role_env[Self::ROLE_ENV_HEAD.len()..self.role_env.len() - 1]
    }
}

/// The env entries of a region. They are one unit: both are injected or neither.
#[derive(Debug)]
pub struct RegionEnv {
    /// The entry `AWS_REGION`.
    pub region: Box<[u8]>,
    /// The entry `AWS_DEFAULT_REGION`.
    pub default_region: Box<[u8]>,
}

impl RegionEnv {
    /// Renders the entries of `region`; an empty one has none.
    pub fn new(region: &Region) -> Option<Self> {
        let region = region.as_ref();
        let entry = |name| render::to_vec(|out| render::env(out, name, region)).into_boxed_slice();
        (!region.is_empty())
            .then(|| Self { region: entry(render::REGION), default_region: entry(render::DEFAULT_REGION) })
    }
}

/// Turns annotations into [`Account`]s under given settings.
#[derive(Debug)]
pub struct Binder {
    settings: Arc<Settings>,
    defaults: Arc<Terms>,
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
        let annotations = self.pick(annotations);
        self.with_role(annotations.role_arn, &annotations, None)
    }

    /// Gives the role of a mapping to a ServiceAccount that names none itself. What else it is annotated with wins over
    /// what the mapping says.
    pub fn bind_mapped<'a>(
        &self,
        mapped: &'a Mapped,
        annotations: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Account {
        self.with_role(non_empty(&mapped.role), &self.pick(annotations), Some(mapped))
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
            terms: self.terms(Some(&role_arn), annotations, mapped),
        }))
    }

    /// What else an account is annotated with matters where it may be given container credentials.
    fn without_role(&self, annotations: &Annotations<'_>, mapped: Option<&Mapped>) -> Account {
        if self.settings.container_credentials.is_none() || *annotations == Annotations::default() {
            return Account::Unannotated;
        }
        let terms = self.terms(None, annotations, mapped);
        Account::Annotated(Arc::new(Binding { role_env: Box::default(), terms }))
    }

    fn pick<'a>(&self, annotations: impl IntoIterator<Item = (&'a str, &'a str)>) -> Annotations<'a> {
        let mut picked = Annotations::default();
        for (key, value) in annotations {
            match self.settings.annotation_prefix.strip(key) {
                Some("role-arn") => picked.role_arn = non_empty(value),
                Some("audience") => picked.audience = non_empty(value),
                Some("token-expiration") => picked.token_expiration = Some(value),
                Some("sts-regional-endpoints") => picked.sts_regional_endpoints = Some(value),
                Some("region") => picked.region = Some(value),
                // The AWS webhook reads it on pods alone.
                Some("skip-containers") if self.settings.compat.is_aws() => {}
                Some("skip-containers") => picked.skip_containers = Some(value),
                Some("include-containers") => picked.include_containers = Some(value),
                _ => {}
            }
        }
        picked
    }

    fn terms(
        &self,
        role_arn: Option<&str>,
        annotations: &Annotations<'_>,
        mapped: Option<&Mapped>,
    ) -> Arc<Terms> {
        let (settings, defaults) = (&self.settings, &self.defaults);
        let malformed_role = role_arn.filter(|role_arn| !is_role_arn(role_arn));
        if mapped.is_none()
            && malformed_role.is_none()
            && (Annotations { role_arn: None, ..*annotations }) == Annotations::default()
        {
            return Arc::clone(defaults);
        }
        let mut warnings = Vec::new();
        let annotation =
            |name: &str| format!("ServiceAccount annotation {}", settings.annotation_prefix.key(name));
        let mut malformed = |name: &str, value: &str, remedy: &str| {
            let (kind, source) = match (name, mapped) {
                ("role-arn", Some(mapped)) => {
                    (WarningKind::RoleArn, format!("role mapping {}", quote(&mapped.key)))
                }
                ("role-arn", None) => (WarningKind::RoleArn, annotation(name)),
                _ => (WarningKind::AccountAnnotation, annotation(name)),
            };
            let text = format!("{source}: {} is {remedy}", quote(value));
            warnings.push(Warning::new(kind, text));
        };

        if let Some(role_arn) = malformed_role {
            malformed("role-arn", role_arn, role_arn::remedy(role_arn));
        }
        let expiration =
            mapped.and_then(|mapped| mapped.token_expiration).unwrap_or(settings.token_expiration);
        let token_expiration = match annotations.token_expiration {
            None => expiration,
            Some(text) => TokenExpiration::from_annotation(text).unwrap_or_else(|| {
                malformed("token-expiration", text, "no whole number of seconds; ignored");
                expiration
            }),
        };
        let sts = mapped.and_then(|mapped| mapped.sts_regional_endpoints);
        let sts = sts.unwrap_or(settings.sts_regional_endpoints);
        let sts_regional_endpoints = match annotations.sts_regional_endpoints {
            None => sts,
            Some(text) => parse_bool(text).unwrap_or_else(|| {
                malformed("sts-regional-endpoints", text, "neither true nor false; ignored");
                sts
            }),
        };

        let audience = annotations.audience.or_else(|| mapped?.audience.as_deref());
        let audience = match audience {
            Some(audience) if audience != &*defaults.audience => audience.into(),
            _ => Arc::clone(&defaults.audience),
        };
        let volume =
            if Arc::ptr_eq(&audience, &defaults.audience) && token_expiration == settings.token_expiration {
                Arc::clone(&defaults.volume)
            } else {
                Self::render_volume(settings.volume_name.as_ref(), &audience, token_expiration, TOKEN_PATH)
            };
        let region = match annotations.region.map(|text| (text, text.trim().parse::<Region>())) {
            None => defaults.region.clone(),
            Some((_, Ok(region))) if region == settings.region => defaults.region.clone(),
            Some((_, Ok(region))) => RegionEnv::new(&region).map(Arc::new),
            Some((text, Err(_))) => {
                malformed("region", text, "no region; ignored");
                defaults.region.clone()
            }
        };

        Arc::new(Terms {
            audience,
            token_expiration,
            volume,
            region,
            sts_regional_endpoints,
            skip_containers: annotations.skip_containers.map(Into::into),
            include_containers: annotations.include_containers.map(Into::into),
            warnings: warnings.into(),
            mapped_by: mapped.map(|mapped| Arc::clone(&mapped.key)),
            without: None,
        })
    }

    fn render_volume(name: &str, audience: &str, expiration: TokenExpiration, path: &str) -> Arc<[u8]> {
        render::to_vec(|out| render::volume(out, name, audience, expiration, path)).into()
    }
}

#[derive(Default, PartialEq)]
struct Annotations<'a> {
    role_arn: Option<&'a str>,
    audience: Option<&'a str>,
    token_expiration: Option<&'a str>,
    sts_regional_endpoints: Option<&'a str>,
    region: Option<&'a str>,
    skip_containers: Option<&'a str>,
    include_containers: Option<&'a str>,
}

fn non_empty(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// The spellings that Go's `strconv.ParseBool` takes, since the AWS webhook reads the annotation with it.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
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
