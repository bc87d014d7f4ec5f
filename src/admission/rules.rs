//! The rules of the injection, for pods whose ServiceAccount is given credentials.

use std::borrow::Cow;

use super::{
    BadReview, Outcome,
    container::{AtMountPath, Container, Expected},
    credentials::{CredentialMode, Modes, Token},
    env::Env,
    filter::Filter,
    json::{self, Array, Value},
    patch::{Patch, Path},
    pod::{POD_IDENTITY_LABEL, Pod},
    pod_warnings::{self, Noted},
    token_volume::TokenVolume,
};
use crate::injection::{
    account::{AccountSettings, Grant, RegionEnv},
    annotation::Annotation,
    annotation_keys::AnnotationKeys,
    compat::Rules,
    region::is_of_other_partition,
    render, role_arn,
    settings::{SessionName, Settings, TokenExpiration},
    warning::Warning,
};

/// etcd takes requests of up to 1.5 MiB (`--max-request-bytes`). A pod to which more than that is added does not fit.
pub const MAX_PATCH_BYTES: usize = 3 << 19;

/// The containers that a request may change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Containers<'a> {
    /// A pod is created: all that it has.
    All,
    /// Ephemeral containers are added: those that the old pod does not have.
    NewEphemeral { old_pod: Option<Value<'a>> },
}

/// The settings.
#[derive(Clone, Copy)]
pub(super) struct Configured<'a> {
    pub(super) settings: &'a Settings,
    pub(super) keys: &'a AnnotationKeys,
    pub(super) modes: &'a Modes,
}

/// Writes to `patch` what the pod lacks.
pub(super) fn inject<'a>(
    Configured { settings, keys, modes }: Configured<'a>,
    pod: &Pod<'a>,
    containers: Containers<'a>,
    grant: &'a Grant,
    session_name_buffer: &mut Vec<u8>,
    mut patch: Patch<'_>,
) -> Result<Injected, BadReview> {
    let (rules, mode, account) = (settings.compat.rules(), modes.of(&grant.credentials), &*grant.settings);
    let token = mode.token();
    let volume = TokenVolume::find(pod, (rules, token), &account.audience)?;
    let mut filter = Filter::new(pod, account, rules);
    let lists = match containers {
        Containers::All => [("initContainers", pod.init_containers), ("containers", pod.containers)],
        // The subresource takes changes to ephemeral containers only, so the volume must be there already.
        Containers::NewEphemeral { .. } if !volume.exists => return Ok(Injected::nothing(Outcome::NoVolume)),
        Containers::NewEphemeral { old_pod } => {
            filter.skip_ephemeral_containers_of(old_pod)?;
            [("ephemeralContainers", pod.ephemeral_containers), ("", None)]
        }
    };

    let mut warnings = Vec::new();
    let region = PodRegion::new(settings, pod, grant, &mut warnings);
    let session_name = session_name(settings, pod, account, &mut warnings);
    let env = Env::new(
        (rules, &settings.inject_env),
        mode,
        (pod, session_name),
        region.env(),
        grant,
        session_name_buffer,
    );
    let expected = Expected { token, volume: &volume, inject_env: &settings.inject_env };
    let mut addition = Addition::new((rules, expected), grant, env, filter);
    let mut tally = Tally::default();
    for (list, containers) in lists {
        addition.add_to(list, containers, &mut patch, &mut tally)?;
    }
    tally.noted.warn_into(&mut warnings, token);
    if matches!(containers, Containers::All) {
        pod_warnings::of_annotations(settings, keys, pod, &addition.filter, &mut warnings);
    }
    let is_used = tally.any_container || rules.volume_without_containers;
    if is_used && !volume.exists {
        let json = render_volume((settings, token), pod, account, &volume, &mut warnings);
        match rules.volume_first {
            false => patch.append(Path::Volumes, pod.volumes.is_some(), [&*json]),
            true => patch.prepend(Path::Volumes, pod.volumes.is_some(), [&*json]),
        }
    }
    let gives_container_credentials = matches!(mode, CredentialMode::ContainerCredentials { .. });
    // The subresource takes no labels either.
    let is_labelled = pod.has_pod_identity_label || matches!(containers, Containers::NewEphemeral { .. });
    if gives_container_credentials && is_used && !is_labelled {
        patch.add_label(pod.labels, POD_IDENTITY_LABEL, "enabled");
    }

    let outcome = match (patch.is_empty(), tally.any_container) {
        (false, _) if gives_container_credentials => Outcome::ContainerCredentials,
        (false, _) => Outcome::Injected,
        (true, true) => Outcome::AlreadyInjected,
        (true, false) => Outcome::NoContainer,
    };
    patch.finish();
    let region_is_of_pod = matches!(region, PodRegion::OfPod(_));
    Ok(Injected { outcome, has_role: tally.has_role, region_is_of_pod, warnings })
}

/// The result for a pod.
#[derive(Debug)]
pub(super) struct Injected {
    pub(super) outcome: Outcome,
    /// Whether any container has the account's role, now or before.
    pub(super) has_role: bool,
    /// Whether the pod names its region, so that its account's does not matter.
    pub(super) region_is_of_pod: bool,
    pub(super) warnings: Vec<Warning>,
}

impl Injected {
    fn nothing(outcome: Outcome) -> Self {
        Self { outcome, has_role: false, region_is_of_pod: false, warnings: Vec::new() }
    }
}

/// The additions to each container of a pod.
struct Addition<'a> {
    rules: &'static Rules,
    expected: Expected<'a>,
    grant: &'a Grant,
    mount: Cow<'a, [u8]>,
    env: Env<'a>,
    filter: Filter<'a>,
}

/// The findings in the containers.
#[derive(Default)]
struct Tally<'a> {
    /// Whether any container has what it needs now, or had it before.
    any_container: bool,
    /// Whether any container has the account's role, now or before.
    has_role: bool,
    noted: Noted<'a>,
}

impl<'a> Addition<'a> {
    fn new(
        (rules, expected): (&'static Rules, Expected<'a>),
        grant: &'a Grant,
        env: Env<'a>,
        filter: Filter<'a>,
    ) -> Self {
        let Expected { token, volume, .. } = expected;
        let mount = match volume.has_first_name {
            true => Cow::Borrowed(&*token.mount),
            false => token.mount_of(&volume.name).into(),
        };
        Self { rules, expected, grant, mount, env, filter }
    }

    /// Adds to the containers of one list what they lack.
    fn add_to<'c>(
        &mut self,
        list: &'static str,
        containers: Option<Array<'c>>,
        patch: &mut Patch<'_>,
        tally: &mut Tally<'c>,
    ) -> Result<(), BadReview> {
        for (index, value) in json::items(containers).enumerate() {
            let container = Container::read(value, self.expected)?;
            if !self.filter.admits(container.name) {
                continue;
            }
            if self.env.skips(container.env.known) {
                tally.any_container = true;
                tally.has_role |= container.role_arn.is_some_and(|role_arn| self.is_role(role_arn));
                continue;
            }
            match container.at_mount_path {
                _ if self.rules.token_volume_by_name_only && container.mounts_name => {}
                AtMountPath::Token => {}
                AtMountPath::Foreign => {
                    tally.noted.blocked(container.name);
                    continue;
                }
                AtMountPath::Nothing => {
                    let path = Path::OfContainer { list, index, field: "volumeMounts" };
                    patch.append(path, container.has_mounts_array, [&*self.mount]);
                }
            }
            tally.any_container = true;
            tally.has_role |= match container.role_arn {
                Some(role_arn) => self.is_role(role_arn),
                None => self.env.gives_identity_to(container.env.known),
            };
            tally.noted.other_credentials(container.name, container.env.known);
            let path = Path::OfContainer { list, index, field: "env" };
            let missing = self.env.missing_from(container.env);
            match self.rules.env_first {
                true => patch.prepend(path, container.has_env_array, missing),
                false => patch.append(path, container.has_env_array, missing),
            }
            if patch.len() > MAX_PATCH_BYTES {
                return Err(BadReview::TooMuch);
            }
        }
        Ok(())
    }

    /// Whether `arn` is the account's role.
    fn is_role(&self, arn: &str) -> bool {
        self.grant.role().is_some_and(|role| role.arn() == arn)
    }
}

/// The region of a pod.
enum PodRegion<'a> {
    /// That of its account, or of the settings.
    OfAccount(Option<&'a RegionEnv>),
    /// The one that it asks for itself.
    OfPod(Option<RegionEnv>),
}

impl<'a> PodRegion<'a> {
    fn new(settings: &Settings, pod: &Pod<'_>, grant: &'a Grant, warnings: &mut Vec<Warning>) -> Self {
        let Some(text) = pod.annotations.get(Annotation::Region) else {
            return Self::OfAccount(grant.settings.region.as_deref());
        };
        let Ok(region) = text.trim().parse() else {
            warnings.push(pod_warnings::of_value(
                settings,
                Annotation::Region,
                text,
                "not a region; ignored",
            ));
            return Self::OfAccount(grant.settings.region.as_deref());
        };
        let env = RegionEnv::new(&region);
        let partition = grant.role().and_then(|role| role_arn::partition(role.arn()));
        let partition = partition.filter(|partition| is_of_other_partition(region.as_ref(), partition));
        warnings.extend(pod_warnings::of_region(settings, &region, partition));
        Self::OfPod(env)
    }

    fn env(&self) -> Option<&RegionEnv> {
        match self {
            Self::OfAccount(region) => *region,
            Self::OfPod(region) => region.as_ref(),
        }
    }
}

/// The session's name that the pod asks for, or else its ServiceAccount.
fn session_name(
    settings: &Settings,
    pod: &Pod<'_>,
    account: &AccountSettings,
    warnings: &mut Vec<Warning>,
) -> SessionName {
    let Some(text) = pod.annotations.get(Annotation::SessionName) else { return account.session_name };
    text.trim().parse().unwrap_or_else(|_| {
        warnings.push(pod_warnings::of_value(
            settings,
            Annotation::SessionName,
            text,
            "neither pod nor none; ignored",
        ));
        account.session_name
    })
}

/// The volume to add, with the lifetime that the pod asks for, or else its ServiceAccount.
fn render_volume<'b>(
    (settings, token): (&Settings, &Token),
    pod: &Pod<'_>,
    account: &'b AccountSettings,
    volume: &TokenVolume<'_>,
    warnings: &mut Vec<Warning>,
) -> Cow<'b, [u8]> {
    let mut expiration = account.token_expiration;
    if let Some(text) = pod.annotations.get(Annotation::TokenExpiration) {
        let mut warn = |effect: &str| {
            warnings.push(pod_warnings::of_value(settings, Annotation::TokenExpiration, text, effect));
        };
        match TokenExpiration::from_annotation(text) {
            Some(of_pod) => {
                if of_pod.is_clamped(text) {
                    warn(&format!("out of range; {of_pod} is used"));
                }
                expiration = of_pod;
            }
            None => warn("not a whole number of seconds; ignored"),
        }
    }
    if volume.has_first_name && expiration == account.token_expiration {
        return Cow::Borrowed(&account.volume);
    }
    let (name, seconds) = (&volume.name, expiration.seconds());
    render::to_vec(|out| render::volume(out, name, &account.audience, seconds, &token.path)).into()
}
