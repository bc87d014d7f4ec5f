//! What is injected into which container: every rule about a pod whose ServiceAccount has a role.

use std::{borrow::Cow, collections::HashSet};

use super::{
    BadReview, Outcome,
    container::{Container, EnvNames, Mounted},
    json::{self, Value},
    patch::{Patch, Path},
    pod::Pod,
    session_name::session_name,
    token_volume::TokenVolume,
};
use crate::{
    accounts::binding::{Binding, RegionEnv},
    render,
    settings::{Os, Settings, TokenExpiration},
    warning::{Warning, quote},
};

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
    token_file_linux: Vec<u8>,
    token_file_windows: Vec<u8>,
    mount: Vec<u8>,
}

impl Rendered {
    pub(super) fn new(settings: &Settings) -> Self {
        let token_file = |os| {
            let mut out = Vec::new();
            render::env(&mut out, render::TOKEN_FILE, &settings.mount_path.token_file(os));
            out
        };
        let mut mount = Vec::new();
        render::mount(&mut mount, settings.volume_name.as_ref(), settings.mount_path.as_ref());
        Self { token_file_linux: token_file(Os::Linux), token_file_windows: token_file(Os::Windows), mount }
    }
}

/// Writes to `patch` what the pod lacks.
pub(super) fn inject(
    (settings, rendered): (&Settings, &Rendered),
    pod: &Pod<'_>,
    containers: Containers<'_>,
    binding: &Binding,
    mut patch: Patch<'_>,
) -> Result<(Outcome, Vec<Warning>), BadReview> {
    let mut warnings = Vec::new();
    let volume = TokenVolume::find(pod.volumes, &settings.volume_name, &binding.audience)?;
    let (lists, filter) = match containers {
        Containers::All => (
            [("initContainers", pod.init_containers), ("containers", pod.containers)],
            Filter::new(pod, binding),
        ),
        // The subresource takes changes to ephemeral containers only, so the volume must be there already.
        Containers::NewEphemeral { .. } if !volume.exists => return Ok((Outcome::NoVolume, warnings)),
        Containers::NewEphemeral { old_pod } => {
            let mut filter = Filter::new(pod, binding);
            filter.skip_ephemeral_containers_of(old_pod)?;
            ([("ephemeralContainers", pod.ephemeral_containers), ("", None)], filter)
        }
    };

    let volume_name: Cow<'_, str> = match volume.number {
        1 => settings.volume_name.as_ref().into(),
        number => settings.volume_name.numbered(number).into(),
    };
    let mount: Cow<'_, [u8]> = match volume.number {
        1 => rendered.mount.as_slice().into(),
        _ => {
            let mut mount = Vec::new();
            render::mount(&mut mount, &volume_name, settings.mount_path.as_ref());
            mount.into()
        }
    };
    let env = Env::new(rendered, pod, binding);

    let mut blocked = Blocked::default();
    let mut any_container = false;
    for (list, array) in lists {
        for (index, value) in json::items(array).enumerate() {
            let container = Container::read(value, &settings.mount_path)?;
            if !filter.admits(container.name) {
                continue;
            }
            match container.at_mount_path {
                Some(Mounted::Volume(name)) if name == volume_name => {}
                Some(_) => {
                    blocked.push(container.name);
                    continue;
                }
                None => {
                    let path = Path::OfContainer { list, index, field: "volumeMounts" };
                    patch.append(path, container.has_mounts_array, [&*mount]);
                }
            }
            any_container = true;
            let path = Path::OfContainer { list, index, field: "env" };
            patch.append(path, container.has_env_array, env.missing_from(container.env));
        }
    }
    warnings.extend(blocked.warning(settings));

    if any_container && !volume.exists {
        let volume = render_volume(settings, pod, binding, &volume_name, volume.number, &mut warnings);
        patch.append(Path::Volumes, pod.volumes.is_some(), [&*volume]);
    }
    let outcome = match (patch.is_empty(), any_container) {
        (false, _) => Outcome::Injected,
        (true, true) => Outcome::AlreadyInjected,
        (true, false) => Outcome::NoContainer,
    };
    patch.finish();
    Ok((outcome, warnings))
}

/// The volume to add, with the lifetime that the pod asks for, or else its ServiceAccount.
fn render_volume<'b>(
    settings: &Settings,
    pod: &Pod<'_>,
    binding: &'b Binding,
    name: &str,
    number: usize,
    warnings: &mut Vec<Warning>,
) -> Cow<'b, [u8]> {
    let of_pod = pod.annotations.token_expiration.and_then(|text| {
        let expiration = TokenExpiration::from_annotation(text);
        if expiration.is_none() {
            let key = settings.annotation_prefix.key("token-expiration");
            let text = quote(text);
            warnings.push(Warning::new(format!(
                "pod annotation {key}: {text} is no whole number of seconds; ignored"
            )));
        }
        expiration
    });
    let expiration = of_pod.unwrap_or(binding.token_expiration);
    if number == 1 && expiration == binding.token_expiration {
        return Cow::Borrowed(&binding.volume);
    }
    let mut volume = Vec::new();
    render::volume(&mut volume, name, &binding.audience, expiration);
    volume.into()
}

/// The env entries of one pod, in the order in which they are injected.
struct Env<'a> {
    role: &'a [u8],
    token_file: &'a [u8],
    region: Option<Region<'a>>,
    session_name: Cow<'a, [u8]>,
    sts_regional_endpoints: bool,
}

enum Region<'a> {
    OfAccount(&'a RegionEnv),
    OfPod(RegionEnv),
}

impl<'a> Env<'a> {
    fn new(rendered: &'a Rendered, pod: &Pod<'_>, binding: &'a Binding) -> Self {
        Self {
            role: binding.role_env(),
            token_file: match pod.os {
                Os::Linux => &rendered.token_file_linux,
                Os::Windows => &rendered.token_file_windows,
            },
            region: match pod.annotations.region {
                Some(region) => RegionEnv::new(region.trim()).map(Region::OfPod),
                None => binding.region.as_deref().map(Region::OfAccount),
            },
            session_name: if pod.name.is_empty() {
                render::SESSION_NAME_BY_DOWNWARD_API.into()
            } else {
                let mut entry = Vec::new();
                render::env(&mut entry, render::SESSION_NAME, &session_name(pod.name));
                entry.into()
            },
            sts_regional_endpoints: binding.sts_regional_endpoints,
        }
    }

    /// What a container lacks that has `present`. What the user set wins, variable by variable; the region is one
    /// unit, since an SDK that reads the other variable would otherwise talk to another region.
    fn missing_from(&self, present: EnvNames) -> impl Iterator<Item = &[u8]> {
        let region = match &self.region {
            _ if present.contains(render::REGION) || present.contains(render::DEFAULT_REGION) => None,
            Some(Region::OfAccount(region)) => Some(*region),
            Some(Region::OfPod(region)) => Some(region),
            None => None,
        };
        let unless_present = move |name, entry| (!present.contains(name)).then_some(entry);
        let sts = self.sts_regional_endpoints.then_some(render::STS_REGIONAL_ENV);
        [
            unless_present(render::ROLE_ARN, self.role),
            unless_present(render::TOKEN_FILE, self.token_file),
            region.map(|region| &*region.region),
            region.map(|region| &*region.default_region),
            unless_present(render::SESSION_NAME, &self.session_name),
            sts.and_then(|sts| unless_present(render::STS_REGIONAL_ENDPOINTS, sts)),
        ]
        .into_iter()
        .flatten()
    }
}

/// Which containers are left alone, by name.
struct Filter<'a> {
    skip: HashSet<&'a str>,
    include: Option<HashSet<&'a str>>,
}

impl<'a> Filter<'a> {
    fn new(pod: &Pod<'a>, binding: &'a Binding) -> Self {
        let names = |list: &'a str| list.split(',').map(str::trim).collect();
        let skip = pod.annotations.skip_containers.or(binding.skip_containers.as_deref());
        let include = pod.annotations.include_containers.or(binding.include_containers.as_deref());
        Self { skip: skip.map(names).unwrap_or_default(), include: include.map(names) }
    }

    fn skip_ephemeral_containers_of<'o: 'a>(&mut self, pod: Option<Value<'o>>) -> Result<(), BadReview> {
        const PATH: &str = "request.oldObject";
        let Some(pod) = pod else { return Ok(()) };
        for (_, spec) in json::fields(pod, PATH)?.filter(|(key, _)| *key == "spec") {
            for (_, list) in json::fields(spec, PATH)?.filter(|(key, _)| *key == "ephemeralContainers") {
                for container in json::items(json::array(list, PATH)?) {
                    for (_, name) in json::fields(container, PATH)?.filter(|(key, _)| *key == "name") {
                        self.skip.insert(json::string(name, PATH)?);
                    }
                }
            }
        }
        Ok(())
    }

    fn admits(&self, name: &str) -> bool {
        !self.skip.contains(name) && self.include.as_ref().is_none_or(|include| include.contains(name))
    }
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

    fn warning(&self, settings: &Settings) -> Option<Warning> {
        let mut names = self.first.join(", ");
        if self.more > 0 {
            names = format!("{names} and {} more", self.more);
        }
        let path = settings.mount_path.as_ref();
        (!self.first.is_empty()).then(|| {
            Warning::new(format!(
                "no AWS identity for container {names}: something else is mounted at {path}"
            ))
        })
    }
}
