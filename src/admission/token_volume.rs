//! Which volume carries the token: one that the pod already has, or a new one under a free name.

use std::{borrow::Cow, collections::HashSet};

use super::{
    BadReview,
    credentials::Token,
    json::{self, Array, Value},
    mount::Mount,
    pod::Pod,
};
use crate::injection::compat::Rules;

/// The volume that containers are to mount.
#[derive(Debug)]
pub(super) struct TokenVolume<'a> {
    pub(super) name: Cow<'a, str>,
    /// Whether the pod has it already.
    pub(super) exists: bool,
    /// Whether it has the name that a token's volume has by default.
    pub(super) has_first_name: bool,
    /// Further volumes of the pod that are tokens like ours. A container that mounts one needs no other.
    others: HashSet<&'a str>,
}

impl<'a> TokenVolume<'a> {
    /// Takes the first of our names that is free or is a token volume like ours; a foreign volume of the name is left
    /// alone. Where no such volume exists, a token volume of another name is taken that a container mounts at our path.
    pub(super) fn find(
        pod: &Pod<'a>,
        (rules, token): (&Rules, &'a Token),
        audience: &str,
    ) -> Result<Self, BadReview> {
        // By number: whether the volume of that name is a token volume like ours.
        let mut taken: Vec<Option<bool>> = Vec::new();
        let mut others = HashSet::new();
        for volume in json::items(pod.volumes) {
            let (mut name, mut projected) = ("", None);
            for (key, value) in json::fields(volume, "a volume")? {
                match key {
                    "name" => name = json::string(value, "a volume's name")?,
                    "projected" => projected = Some(value),
                    _ => {}
                }
            }
            let number = token.volume_name.number_of(name);
            let is_token = match projected {
                _ if number.is_some() && rules.token_volume_by_name_only => true,
                Some(projected) => has_token_source(projected, audience, &token.path)?,
                None => false,
            };
            if is_token && number != Some(1) {
                others.insert(name);
            }
            // Numbers beyond the count of volumes can't be reached, so a pod can't make this list long.
            let Some(number) = number.filter(|&number| number <= pod.volumes.map_or(0, Array::len)) else {
                continue;
            };
            if taken.len() < number {
                taken.resize(number, None);
            }
            taken[number - 1] = Some(is_token);
        }
        let free = taken.iter().position(|taken| *taken != Some(false)).unwrap_or(taken.len());
        let exists = taken.get(free) == Some(&Some(true));
        if !exists && let Some(name) = mounted_at_path(pod, token, &others)? {
            return Ok(Self { name: name.into(), exists: true, has_first_name: false, others });
        }
        Ok(Self { name: token.volume_name.numbered(free + 1), exists, has_first_name: free == 0, others })
    }

    /// Whether a volume is a token like ours.
    pub(super) fn is_token(&self, name: &str) -> bool {
        self.name == name || self.others.contains(name)
    }
}

/// The first of these volumes that a container mounts where the token is to be mounted.
fn mounted_at_path<'a>(
    pod: &Pod<'a>,
    token: &Token,
    names: &HashSet<&'a str>,
) -> Result<Option<&'a str>, BadReview> {
    if names.is_empty() {
        return Ok(None);
    }
    for list in [pod.init_containers, pod.containers, pod.ephemeral_containers] {
        for container in json::items(list) {
            for (_, mounts) in
                json::fields(container, "a container")?.filter(|(key, _)| *key == "volumeMounts")
            {
                for mount in json::items(json::array(mounts, "a container's volumeMounts")?) {
                    let Mount { name, path, is_partial } = Mount::read(mount)?;
                    if token.mount_path.is(path) && !is_partial && names.contains(name) {
                        return Ok(Some(name));
                    }
                }
            }
        }
    }
    Ok(None)
}

/// Whether a projected volume has a token for `audience` where the environment will say it is.
fn has_token_source(projected: Value<'_>, audience: &str, token_path: &str) -> Result<bool, BadReview> {
    const PATH: &str = "a projected volume";
    for (_, sources) in json::fields(projected, PATH)?.filter(|(key, _)| *key == "sources") {
        for source in json::items(json::array(sources, PATH)?) {
            for (_, token) in json::fields(source, PATH)?.filter(|(key, _)| *key == "serviceAccountToken") {
                let (mut token_audience, mut path) = ("", "");
                for (key, value) in json::fields(token, PATH)? {
                    match key {
                        "audience" => token_audience = json::string(value, PATH)?,
                        "path" => path = json::string(value, PATH)?,
                        _ => {}
                    }
                }
                if token_audience == audience && path == token_path {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}
