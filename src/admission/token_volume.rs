//! Which volume carries the token: one that the pod already has, or a new one under a free name.

use super::{
    BadReview,
    credentials::Token,
    json::{self, Array, Value},
};
use crate::injection::compat::Rules;

/// The volume that containers are to mount.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TokenVolume {
    /// Which of the [`VolumeName::numbered`](crate::injection::settings::VolumeName::numbered) names it has.
    pub(super) number: usize,
    /// Whether the pod has it already.
    pub(super) exists: bool,
}

impl TokenVolume {
    /// Takes the first name that is free or is a token volume like ours; a foreign volume of the name is left alone.
    pub(super) fn find(
        volumes: Option<Array<'_>>,
        (rules, token): (&Rules, &Token),
        audience: &str,
    ) -> Result<Self, BadReview> {
        // By number: whether the volume of that name is a token volume like ours.
        let mut taken: Vec<Option<bool>> = Vec::new();
        for volume in json::items(volumes) {
            let (mut volume_name, mut projected) = ("", None);
            for (key, value) in json::fields(volume, "a volume")? {
                match key {
                    "name" => volume_name = json::string(value, "a volume's name")?,
                    "projected" => projected = Some(value),
                    _ => {}
                }
            }
            let Some(number) = token.volume_name.number_of(volume_name) else { continue };
            let is_token = match projected {
                _ if rules.token_volume_by_name_only => true,
                Some(projected) => has_token_source(projected, audience, &token.path)?,
                None => false,
            };
            // Numbers beyond the count of volumes can't be reached, so a pod can't make this list long.
            if number <= volumes.map_or(0, Array::len) {
                if taken.len() < number {
                    taken.resize(number, None);
                }
                taken[number - 1] = Some(is_token);
            }
        }
        let free = taken.iter().position(|taken| *taken != Some(false)).unwrap_or(taken.len());
        Ok(Self { number: free + 1, exists: taken.get(free) == Some(&Some(true)) })
    }
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
