//! Makes the settings of an account from its annotations, without the role. Settings that equal the defaults are shared.

use std::sync::Arc;

use super::{
    Mapped, Resolver,
    annotations::{Annotations, parse_bool},
    render_volume,
};
use crate::injection::{
    account::{AccountSettings, RegionEnv},
    annotation::Annotation,
    container_names::{self, ContainerNames},
    region::{is_of_other_partition, oddity, partition_of},
    render,
    role_arn::{self, RoleProblem},
    settings::{Region, SessionName, TOKEN_PATH, TokenExpiration},
    variable::Variable,
    warning::{Warning, WarningKind, quote},
};

/// The longest audience that is used. Every pod is given it.
const MAX_AUDIENCE_BYTES: usize = 512;

/// Reads the annotations of an account, then its mapping, then the settings. A value that can't be read is ignored with a
/// warning.
pub(super) fn read(
    resolver: &Resolver,
    role: Option<(&str, &str)>,
    annotations: &Annotations<'_>,
    mapped: Option<&Mapped>,
) -> Arc<AccountSettings> {
    let problem = role.and_then(|(_, arn)| role_arn::check(arn).err());
    let partition = role.filter(|_| problem.is_none()).and_then(|(_, arn)| role_arn::partition(arn));
    let is_plain = mapped.is_none() && annotations.have_only_a_role();
    let is_odd = role.is_some_and(|(text, _)| resolver.has_role_in_name(text));
    if is_plain && problem.is_none() && !is_odd {
        return Arc::clone(resolver.defaults_in(partition));
    }
    let mut reader = Reader { resolver, annotations, mapped, partition, warnings: Vec::new() };
    reader.warn_of_role(role, problem);
    let (token_expiration, variables) = (reader.token_expiration(), reader.variables());
    let (audience, region) = (reader.audience(), reader.region());
    let session_name = reader.session_name();
    let [skip_containers, include_containers] = [Annotation::SkipContainers, Annotation::IncludeContainers]
        .map(|annotation| reader.container_names(annotation));
    reader.warn_of_mistakes();
    Arc::new(AccountSettings {
        volume: reader.volume(&audience, token_expiration),
        audience,
        token_expiration,
        region,
        variables,
        session_name,
        skip_containers,
        include_containers,
        warnings: reader.warnings.into(),
        mapped_by: mapped.map(|mapped| Arc::clone(&mapped.key)),
    })
}

/// What is wrong with the keys of an account without a role.
pub(super) fn warnings_of_mistakes(annotations: &Annotations<'_>) -> Box<[Warning]> {
    let warning = |(key, mistake): &(&str, String)| {
        let text = format!("ServiceAccount annotation {} {mistake}", quote(key));
        Warning::new(WarningKind::AccountAnnotation, text)
    };
    annotations.mistakes.iter().map(warning).collect()
}

/// The region of other partitions than its own is not injected; why.
pub(super) fn withheld_region(region: &Region, partition: &str) -> Warning {
    let of = partition_of(region.as_ref());
    let text = format!(
        "no region is injected: {region} is of partition {of}, and the role of {partition}; annotate the ServiceAccount \
         with its region, or set --aws-region"
    );
    Warning::new(WarningKind::Region, text)
}

/// The value of the variable that selects regional STS endpoints, if they are wanted.
pub(super) fn sts_regional(is_wanted: bool) -> (Annotation, Option<&'static str>) {
    (Annotation::StsRegionalEndpoints, is_wanted.then_some("regional"))
}

/// Renders the variables that annotations give.
pub(super) fn render_variables(values: &[(Annotation, Option<&str>)]) -> Arc<[(Variable, Box<[u8]>)]> {
    let given = values.iter().filter_map(|&(annotation, value)| Some((annotation.variables(), value?)));
    let entries = given.flat_map(|(variables, value)| {
        let entry = move |&variable: &Variable| {
            let entry = render::to_vec(|out| render::env(out, variable.name(), value));
            (variable, entry.into_boxed_slice())
        };
        variables.iter().map(entry)
    });
    entries.collect()
}

struct Reader<'a> {
    resolver: &'a Resolver,
    annotations: &'a Annotations<'a>,
    mapped: Option<&'a Mapped>,
    /// That of the role, if it is an ARN.
    partition: Option<&'a str>,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn token_expiration(&mut self) -> TokenExpiration {
        if let Some(text) = self.annotations.get(Annotation::TokenExpiration) {
            if let Some(seconds) = self.seconds(&self.annotation(Annotation::TokenExpiration), text) {
                return seconds;
            }
            self.warn_of(Annotation::TokenExpiration, text, "not a whole number of seconds; ignored");
        }
        let mapped = self.mapped.and_then(|mapped| Some((&mapped.key, mapped.token_expiration.as_deref()?)));
        let mapped = mapped.and_then(|(key, text)| {
            self.seconds(&format!("TokenExpiration of role mapping {}", quote(key)), text)
        });
        mapped.unwrap_or(self.resolver.settings.token_expiration)
    }

    /// Reads a lifetime, which is brought into the range with a warning.
    fn seconds(&mut self, source: &str, text: &str) -> Option<TokenExpiration> {
        let seconds = TokenExpiration::from_annotation(text)?;
        if seconds.is_clamped(text) {
            let effect = format!("out of range; {seconds} is used");
            self.warn(WarningKind::AccountAnnotation, source, text, &effect);
        }
        Some(seconds)
    }

    /// The entries of variables that depend on nothing but the account.
    fn variables(&mut self) -> Arc<[(Variable, Box<[u8]>)]> {
        let variables = render_variables(&[sts_regional(self.sts_regional_endpoints())]);
        let defaults = &self.resolver.defaults.variables;
        if variables == *defaults { Arc::clone(defaults) } else { variables }
    }

    fn sts_regional_endpoints(&mut self) -> bool {
        let sts = self.mapped.and_then(|mapped| mapped.sts_regional_endpoints);
        let sts = sts.unwrap_or(self.resolver.settings.sts_regional_endpoints);
        let Some(text) = self.annotations.get(Annotation::StsRegionalEndpoints) else { return sts };
        parse_bool(text).unwrap_or_else(|| {
            self.warn_of(Annotation::StsRegionalEndpoints, text, "neither true nor false; ignored");
            sts
        })
    }

    fn session_name(&mut self) -> SessionName {
        let default = self.resolver.settings.session_name;
        let Some(text) = self.annotations.get(Annotation::SessionName) else { return default };
        text.trim().parse().unwrap_or_else(|_| {
            self.warn_of(Annotation::SessionName, text, "neither pod nor none; ignored");
            default
        })
    }

    fn audience(&mut self) -> Arc<str> {
        let default = &self.resolver.defaults.audience;
        let annotated = match self.annotations.get(Annotation::Audience) {
            Some(audience) if audience.len() > MAX_AUDIENCE_BYTES => {
                let effect = format!("longer than {MAX_AUDIENCE_BYTES} bytes; ignored");
                self.warn_of(Annotation::Audience, audience, &effect);
                None
            }
            annotated => annotated,
        };
        match annotated.or_else(|| self.mapped?.audience.as_deref()) {
            Some(audience) if audience != &**default => audience.into(),
            _ => Arc::clone(default),
        }
    }

    fn region(&mut self) -> Option<Arc<RegionEnv>> {
        let (settings, rendered) = (&self.resolver.settings, &self.resolver.defaults.region);
        match self.annotations.get(Annotation::Region).map(|text| (text, text.trim().parse::<Region>())) {
            Some((text, Ok(region))) => {
                self.warn_of_region(text, &region);
                if region == settings.region && !settings.region_is_built_in {
                    rendered.clone()
                } else {
                    RegionEnv::new(&region).map(Arc::new)
                }
            }
            Some((text, Err(_))) => {
                self.warn_of(Annotation::Region, text, "not a region; ignored");
                self.default_region()
            }
            None => self.default_region(),
        }
    }

    /// The region of the settings, unless it is of another partition than the role.
    fn default_region(&mut self) -> Option<Arc<RegionEnv>> {
        let defaults = self.resolver.defaults_in(self.partition);
        self.warnings.extend(defaults.warnings.iter().cloned());
        defaults.region.clone()
    }

    /// An annotated region is injected whatever it is.
    fn warn_of_region(&mut self, text: &str, region: &Region) {
        if let Some(oddity) = oddity(region.as_ref()) {
            self.warn_of(Annotation::Region, text, &oddity);
        }
        if let Some(partition) =
            self.partition.filter(|partition| is_of_other_partition(region.as_ref(), partition))
        {
            let effect = format!("a region of another partition than the role's, {partition}");
            self.warn(WarningKind::Region, &self.annotation(Annotation::Region), text, &effect);
        }
    }

    fn container_names(&mut self, annotation: Annotation) -> Option<ContainerNames> {
        let text = self.annotations.get(annotation)?;
        if container_names::is_too_long(text) {
            self.warn_of(annotation, text, "too long; its end is ignored");
        }
        Some(ContainerNames::parse(text, self.resolver.settings.compat.rules()))
    }

    fn volume(&self, audience: &Arc<str>, expiration: TokenExpiration) -> Arc<[u8]> {
        let (settings, defaults) = (&self.resolver.settings, &self.resolver.defaults);
        if Arc::ptr_eq(audience, &defaults.audience) && expiration == settings.token_expiration {
            return Arc::clone(&defaults.volume);
        }
        render_volume(settings.volume_name.as_ref(), audience, expiration, TOKEN_PATH)
    }

    fn warn_of_role(&mut self, role: Option<(&str, &str)>, problem: Option<RoleProblem>) {
        let Some((text, arn)) = role else { return };
        let source = match self.mapped {
            Some(mapped) => format!("role mapping {}", quote(&mapped.key)),
            None => self.annotation(Annotation::RoleArn),
        };
        if let Some(problem) = problem {
            self.warn(WarningKind::RoleArn, &source, arn, problem.describe());
        } else if self.resolver.has_role_in_name(text) {
            let effect = format!("a short name that begins with role/: it becomes {}", quote(arn));
            self.warn(WarningKind::RoleArn, &source, text, &effect);
        }
    }

    fn warn_of_mistakes(&mut self) {
        self.warnings.extend(warnings_of_mistakes(self.annotations));
    }

    fn warn_of(&mut self, annotation: Annotation, value: &str, effect: &str) {
        self.warn(WarningKind::AccountAnnotation, &self.annotation(annotation), value, effect);
    }

    fn annotation(&self, annotation: Annotation) -> String {
        let key = self.resolver.settings.annotation_prefix.key(annotation.name());
        format!("ServiceAccount annotation {key}")
    }

    fn warn(&mut self, kind: WarningKind, source: &str, value: &str, effect: &str) {
        self.warnings.push(Warning::new(kind, format!("{source}: {} is {effect}", quote(value))));
    }
}
