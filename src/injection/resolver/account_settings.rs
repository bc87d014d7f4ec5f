//! What annotations say beside the role → settings of the account, shared where they equal the defaults.

use std::sync::Arc;

use super::{
    Mapped, Resolver,
    annotations::{Annotations, parse_bool},
    render_volume,
};
use crate::injection::{
    account::{AccountSettings, RegionEnv},
    role_arn::{self, is_role_arn},
    settings::{Region, TOKEN_PATH, TokenExpiration},
    warning::{Warning, WarningKind, quote},
};

/// Reads the annotations of an account, then its mapping, then the settings. A value that can't be read is ignored with a
/// warning.
pub(super) fn read(
    resolver: &Resolver,
    role_arn: Option<&str>,
    annotations: &Annotations<'_>,
    mapped: Option<&Mapped>,
) -> Arc<AccountSettings> {
    let malformed_role = role_arn.filter(|role_arn| !is_role_arn(role_arn));
    if mapped.is_none() && malformed_role.is_none() && annotations.have_only_a_role() {
        return Arc::clone(&resolver.defaults);
    }
    let mut reader = Reader { resolver, annotations, mapped, warnings: Vec::new() };
    if let Some(role_arn) = malformed_role {
        reader.warn_of_role(role_arn);
    }
    let (token_expiration, sts_regional_endpoints) =
        (reader.token_expiration(), reader.sts_regional_endpoints());
    let (audience, region) = (reader.audience(), reader.region());
    Arc::new(AccountSettings {
        volume: reader.volume(&audience, token_expiration),
        audience,
        token_expiration,
        region,
        sts_regional_endpoints,
        skip_containers: annotations.skip_containers.map(Into::into),
        include_containers: annotations.include_containers.map(Into::into),
        warnings: reader.warnings.into(),
        mapped_by: mapped.map(|mapped| Arc::clone(&mapped.key)),
    })
}

struct Reader<'a> {
    resolver: &'a Resolver,
    annotations: &'a Annotations<'a>,
    mapped: Option<&'a Mapped>,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn token_expiration(&mut self) -> TokenExpiration {
        let expiration = self.mapped.and_then(|mapped| mapped.token_expiration);
        let expiration = expiration.unwrap_or(self.resolver.settings.token_expiration);
        let Some(text) = self.annotations.token_expiration else { return expiration };
        TokenExpiration::from_annotation(text).unwrap_or_else(|| {
            self.warn_of("token-expiration", text, "no whole number of seconds; ignored");
            expiration
        })
    }

    fn sts_regional_endpoints(&mut self) -> bool {
        let sts = self.mapped.and_then(|mapped| mapped.sts_regional_endpoints);
        let sts = sts.unwrap_or(self.resolver.settings.sts_regional_endpoints);
        let Some(text) = self.annotations.sts_regional_endpoints else { return sts };
        parse_bool(text).unwrap_or_else(|| {
            self.warn_of("sts-regional-endpoints", text, "neither true nor false; ignored");
            sts
        })
    }

    fn audience(&self) -> Arc<str> {
        let default = &self.resolver.defaults.audience;
        match self.annotations.audience.or_else(|| self.mapped?.audience.as_deref()) {
            Some(audience) if audience != &**default => audience.into(),
            _ => Arc::clone(default),
        }
    }

    fn region(&mut self) -> Option<Arc<RegionEnv>> {
        let (default, rendered) = (&self.resolver.settings.region, &self.resolver.defaults.region);
        let Some(text) = self.annotations.region else { return rendered.clone() };
        match text.trim().parse::<Region>() {
            Ok(region) if region == *default => rendered.clone(),
            Ok(region) => RegionEnv::new(&region).map(Arc::new),
            Err(_) => {
                self.warn_of("region", text, "no region; ignored");
                rendered.clone()
            }
        }
    }

    fn volume(&self, audience: &Arc<str>, expiration: TokenExpiration) -> Arc<[u8]> {
        let (settings, defaults) = (&self.resolver.settings, &self.resolver.defaults);
        if Arc::ptr_eq(audience, &defaults.audience) && expiration == settings.token_expiration {
            return Arc::clone(&defaults.volume);
        }
        render_volume(settings.volume_name.as_ref(), audience, expiration, TOKEN_PATH)
    }

    fn warn_of_role(&mut self, role_arn: &str) {
        let source = match self.mapped {
            Some(mapped) => format!("role mapping {}", quote(&mapped.key)),
            None => self.annotation("role-arn"),
        };
        self.warn(WarningKind::RoleArn, &source, role_arn, role_arn::remedy(role_arn));
    }

    fn warn_of(&mut self, name: &str, value: &str, remedy: &str) {
        self.warn(WarningKind::AccountAnnotation, &self.annotation(name), value, remedy);
    }

    fn annotation(&self, name: &str) -> String {
        format!("ServiceAccount annotation {}", self.resolver.settings.annotation_prefix.key(name))
    }

    fn warn(&mut self, kind: WarningKind, source: &str, value: &str, remedy: &str) {
        self.warnings.push(Warning::new(kind, format!("{source}: {} is {remedy}", quote(value))));
    }
}
