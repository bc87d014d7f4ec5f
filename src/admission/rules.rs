//! What is injected into which container: every rule about a pod whose ServiceAccount has a role.

use std::borrow::Cow;

use super::{
    BadReview, Outcome,
    container::{Container, Mounted},
    delivery::Delivery,
    env::Env,
    filter::Filter,
    json::{self, Array, Value},
    patch::{Patch, Path},
    pod::{IDENTITY_LABEL, Pod},
    token_volume::TokenVolume,
};
use crate::injection::{
    binding::Binding,
    render,
    settings::{Compat, Region, Settings, TokenExpiration},
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

/// What depends on the settings alone, rendered once.
#[derive(Debug)]
pub(super) struct Rendered {
    web_identity: Delivery,
    container_credentials: Option<Delivery>,
}

impl Rendered {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            web_identity: Delivery::of_web_identity(settings),
            container_credentials: settings
                .container_credentials
                .as_ref()
                .map(|credentials| Delivery::of_container_credentials(credentials, settings.compat)),
        }
    }

    fn delivery(&self, binding: &Binding) -> &Delivery {
        let container_credentials = self.container_credentials.as_ref();
        container_credentials.filter(|_| binding.has_container_credentials()).unwrap_or(&self.web_identity)
    }
}

/// Writes to `patch` what the pod lacks.
pub(super) fn inject(
    (settings, rendered): (&Settings, &Rendered),
    pod: &Pod<'_>,
    containers: Containers<'_>,
    binding: &Binding,
    session_name_buffer: &mut Vec<u8>,
    mut patch: Patch<'_>,
) -> Result<Injected, BadReview> {
    let delivery = rendered.delivery(binding);
    let volume = TokenVolume::find(pod.volumes, delivery, &binding.terms.audience)?;
    let mut filter = Filter::new(pod, binding, settings.compat);
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
    let region = pod_region(settings, pod, &mut warnings);
    let compat = settings.compat;
    let env = Env::new(delivery, pod, region.as_ref(), binding, session_name_buffer);
    let addition = Addition::new(delivery, binding, &volume, env, filter);
    let mut tally = Tally::default();
    for (list, containers) in lists {
        addition.add_to(list, containers, &mut patch, &mut tally)?;
    }
    warnings.extend(tally.blocked.warning(delivery));
    // The AWS webhook adds its volume even where no container mounts it, and at the beginning.
    if (tally.any_container || compat.is_aws()) && !volume.exists {
        let json = render_volume((settings, delivery), pod, binding, &volume, &mut warnings);
        match compat {
            Compat::None => patch.append(Path::Volumes, pod.volumes.is_some(), [&*json]),
            Compat::Aws => patch.prepend(Path::Volumes, pod.volumes.is_some(), &json),
        }
    }
    let is_contained = delivery.full_uri.is_some();
    // The subresource takes no labels either.
    let is_labelled = pod.has_identity_label || matches!(containers, Containers::NewEphemeral { .. });
    if is_contained && (tally.any_container || compat.is_aws()) && !is_labelled {
        patch.add_label(pod.labels, IDENTITY_LABEL, "enabled");
    }

    let outcome = match (patch.is_empty(), tally.any_container) {
        (false, _) if is_contained => Outcome::ContainerCredentials,
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
    delivery: &'a Delivery,
    binding: &'a Binding,
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
        delivery: &'a Delivery,
        binding: &'a Binding,
        volume: &TokenVolume,
        env: Env<'a>,
        filter: Filter<'a>,
    ) -> Self {
        let volume_name = delivery.volume_name.numbered(volume.number);
        let mount = match volume.number {
            1 => Cow::Borrowed(&*delivery.mount),
            _ => delivery.mount_of(&volume_name).into(),
        };
        Self { delivery, binding, volume_name, mount, env, filter }
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
            let container = Container::read(value, self.delivery)?;
            if !self.filter.admits(container.name) {
                continue;
            }
            if self.env.leaves_alone(container.env) {
                tally.any_container = true;
                tally.has_role |=
                    container.role_arn.is_some_and(|role_arn| self.binding.is_role_arn(role_arn));
                continue;
            }
            match container.at_mount_path {
                _ if container.mounts_name => {}
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
                Some(role_arn) => self.binding.is_role_arn(role_arn),
                None => self.env.gives_role_to(container.env),
            };
            let path = Path::OfContainer { list, index, field: "env" };
            patch.append(path, container.has_env_array, self.env.missing_from(container.env));
            if patch.len() > MAX_PATCH_BYTES {
                return Err(BadReview::TooMuch);
            }
        }
        Ok(())
    }
}

/// The region that the pod asks for, if it does.
fn pod_region(settings: &Settings, pod: &Pod<'_>, warnings: &mut Vec<Warning>) -> Option<Region> {
    let text = pod.annotations.region?;
    let region = text.trim().parse().ok();
    if region.is_none() {
        warnings.push(ignored(settings, "region", text, "region"));
    }
    region
}

/// The volume to add, with the lifetime that the pod asks for, or else its ServiceAccount.
fn render_volume<'b>(
    (settings, delivery): (&Settings, &Delivery),
    pod: &Pod<'_>,
    binding: &'b Binding,
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
    let expiration = of_pod.unwrap_or(binding.terms.token_expiration);
    if volume.number == 1 && expiration == binding.terms.token_expiration {
        return Cow::Borrowed(&binding.terms.volume);
    }
    let name = delivery.volume_name.numbered(volume.number);
    let (audience, path) = (&binding.terms.audience, &delivery.token_path);
    render::to_vec(|out| render::volume(out, &name, audience, expiration, path)).into()
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

    fn warning(&self, delivery: &Delivery) -> Option<Warning> {
        let mut names = self.first.join(", ");
        if self.more > 0 {
            names = format!("{names} and {} more", self.more);
        }
        let path = delivery.mount_path.as_ref();
        (!self.first.is_empty()).then(|| {
            let text = format!("no AWS identity for container {names}: something else is mounted at {path}");
            Warning::new(WarningKind::MountPath, text)
        })
    }
}
