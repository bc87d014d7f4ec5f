//! What is injected into which container: every rule about a pod whose ServiceAccount has a role.

use std::borrow::Cow;

use super::{
    BadReview, Outcome,
    container::{Container, Mounted},
    credentials::{CredentialMode, Modes, Token},
    env::Env,
    filter::Filter,
    json::{self, Array, Value},
    patch::{Patch, Path},
    pod::{POD_IDENTITY_LABEL, Pod},
    token_volume::TokenVolume,
};
use crate::injection::{
    account::{AccountSettings, Grant, RegionEnv},
    compat::Rules,
    render,
    settings::{Settings, TokenExpiration},
    warning::{Warning, WarningKind, quote},
};

/// No pod that this patch could be applied to would fit into etcd, whose requests end at 1.5 MiB. It bounds the memory
/// that a pod of very many containers can cost.
const MAX_PATCH_BYTES: usize = 8 << 20;

/// The containers that a request may change.
#[derive(Clone, Copy, Debug)]
pub(super) enum Containers<'a> {
    /// A pod is created: all that it has.
    All,
    /// Ephemeral containers are added: those that the old pod does not have.
    NewEphemeral { old_pod: Option<Value<'a>> },
}

/// Writes to `patch` what the pod lacks.
pub(super) fn inject(
    (settings, modes): (&Settings, &Modes),
    pod: &Pod<'_>,
    containers: Containers<'_>,
    grant: &Grant,
    session_name_buffer: &mut Vec<u8>,
    mut patch: Patch<'_>,
) -> Result<Injected, BadReview> {
    let (rules, mode, account) = (settings.compat.rules(), modes.of(&grant.credentials), &*grant.settings);
    let token = mode.token();
    let volume = TokenVolume::find(pod.volumes, (rules, token), &account.audience)?;
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
    let region = PodRegion::new(settings, pod, account, &mut warnings);
    let env = Env::new((rules, mode), pod, region.env(), grant, session_name_buffer);
    let addition = Addition::new((rules, token), grant, &volume, env, filter);
    let mut tally = Tally::default();
    for (list, containers) in lists {
        addition.add_to(list, containers, &mut patch, &mut tally)?;
    }
    warnings.extend(tally.blocked.warning(token));
    let is_used = tally.any_container || rules.volume_without_containers;
    if is_used && !volume.exists {
        let json = render_volume((settings, token), pod, account, &volume, &mut warnings);
        match rules.volume_first {
            false => patch.append(Path::Volumes, pod.volumes.is_some(), [&*json]),
            true => patch.prepend(Path::Volumes, pod.volumes.is_some(), &json),
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
    Ok(Injected { outcome, has_role: tally.has_role, warnings })
}

/// What came of a pod.
#[derive(Debug)]
pub(super) struct Injected {
    pub(super) outcome: Outcome,
    /// Whether any container has the account's role, now or before.
    pub(super) has_role: bool,
    pub(super) warnings: Vec<Warning>,
}

impl Injected {
    fn nothing(outcome: Outcome) -> Self {
        Self { outcome, has_role: false, warnings: Vec::new() }
    }
}

/// What is added to each container of a pod.
struct Addition<'a> {
    rules: &'static Rules,
    token: &'a Token,
    grant: &'a Grant,
    volume_name: Cow<'a, str>,
    mount: Cow<'a, [u8]>,
    env: Env<'a>,
    filter: Filter<'a>,
}

/// What came of the containers.
#[derive(Default)]
struct Tally<'a> {
    /// Whether any container has what it needs now, or had it before.
    any_container: bool,
    /// Whether any container has the account's role, now or before.
    has_role: bool,
    blocked: Blocked<'a>,
}

impl<'a> Addition<'a> {
    fn new(
        (rules, token): (&'static Rules, &'a Token),
        grant: &'a Grant,
        volume: &TokenVolume,
        env: Env<'a>,
        filter: Filter<'a>,
    ) -> Self {
        let volume_name = token.volume_name.numbered(volume.number);
        let mount = match volume.number {
            1 => Cow::Borrowed(&*token.mount),
            _ => token.mount_of(&volume_name).into(),
        };
        Self { rules, token, grant, volume_name, mount, env, filter }
    }

    /// Adds to the containers of one list what they lack.
    fn add_to<'c>(
        &self,
        list: &'static str,
        containers: Option<Array<'c>>,
        patch: &mut Patch<'_>,
        tally: &mut Tally<'c>,
    ) -> Result<(), BadReview> {
        for (index, value) in json::items(containers).enumerate() {
            let container = Container::read(value, self.token)?;
            if !self.filter.admits(container.name) {
                continue;
            }
            if self.env.skips(container.env) {
                tally.any_container = true;
                tally.has_role |= container.role_arn.is_some_and(|role_arn| self.is_role(role_arn));
                continue;
            }
            match container.at_mount_path {
                _ if self.rules.token_volume_by_name_only && container.mounts_name => {}
                Some(Mounted::Volume(name)) if name == self.volume_name => {}
                Some(_) => {
                    tally.blocked.push(container.name);
                    continue;
                }
                None => {
                    let path = Path::OfContainer { list, index, field: "volumeMounts" };
                    patch.append(path, container.has_mounts_array, [&*self.mount]);
                }
            }
            tally.any_container = true;
            tally.has_role |= match container.role_arn {
                Some(role_arn) => self.is_role(role_arn),
                None => self.env.gives_identity_to(container.env),
            };
            let path = Path::OfContainer { list, index, field: "env" };
            patch.append(path, container.has_env_array, self.env.missing_from(container.env));
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
    fn new(
        settings: &Settings,
        pod: &Pod<'_>,
        account: &'a AccountSettings,
        warnings: &mut Vec<Warning>,
    ) -> Self {
        match pod.annotations.region.map(|text| (text, text.trim().parse())) {
            Some((_, Ok(region))) => Self::OfPod(RegionEnv::new(&region)),
            Some((text, Err(_))) => {
                warnings.push(ignored(settings, "region", text, "region"));
                Self::OfAccount(account.region.as_deref())
            }
            None => Self::OfAccount(account.region.as_deref()),
        }
    }

    fn env(&self) -> Option<&RegionEnv> {
        match self {
            Self::OfAccount(region) => *region,
            Self::OfPod(region) => region.as_ref(),
        }
    }
}

/// The volume to add, with the lifetime that the pod asks for, or else its ServiceAccount.
fn render_volume<'b>(
    (settings, token): (&Settings, &Token),
    pod: &Pod<'_>,
    account: &'b AccountSettings,
    volume: &TokenVolume,
    warnings: &mut Vec<Warning>,
) -> Cow<'b, [u8]> {
    let of_pod = pod.annotations.token_expiration.and_then(|text| {
        let expiration = TokenExpiration::from_annotation(text);
        if expiration.is_none() {
            warnings.push(ignored(settings, "token-expiration", text, "whole number of seconds"));
        }
        expiration
    });
    let expiration = of_pod.unwrap_or(account.token_expiration);
    if volume.number == 1 && expiration == account.token_expiration {
        return Cow::Borrowed(&account.volume);
    }
    let name = token.volume_name.numbered(volume.number);
    render::to_vec(|out| render::volume(out, &name, &account.audience, expiration, &token.path)).into()
}

/// An annotation of the pod that is not what it should be.
fn ignored(settings: &Settings, annotation: &str, text: &str, want: &str) -> Warning {
    let key = settings.annotation_prefix.key(annotation);
    let text = format!("pod annotation {key}: {} is no {want}; ignored", quote(text));
    Warning::new(WarningKind::PodAnnotation, text)
}

/// The containers left alone because something else is mounted where the token would be.
#[derive(Default)]
struct Blocked<'a> {
    first: Vec<&'a str>,
    more: usize,
}

impl<'a> Blocked<'a> {
    /// How many a warning names; it has 256 characters.
    const NAMED: usize = 3;

    fn push(&mut self, container: &'a str) {
        if self.first.len() < Self::NAMED {
            self.first.push(container);
        } else {
            self.more += 1;
        }
    }

    fn warning(&self, token: &Token) -> Option<Warning> {
        let mut names = self.first.join(", ");
        if self.more > 0 {
            names = format!("{names} and {} more", self.more);
        }
        let path = token.mount_path.as_ref();
        (!self.first.is_empty()).then(|| {
            let text = format!("no AWS identity for container {names}: something else is mounted at {path}");
            Warning::new(WarningKind::MountPath, text)
        })
    }
}
