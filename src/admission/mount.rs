//! A mount of a container.

use super::{
    BadReview,
    json::{self, Value},
};

/// A mount of a container.
pub(super) struct Mount<'a> {
    pub(super) name: &'a str,
    pub(super) path: &'a str,
    /// Whether only a part of the volume is mounted.
    pub(super) is_partial: bool,
}

impl<'a> Mount<'a> {
    pub(super) fn read(value: Value<'a>) -> Result<Self, BadReview> {
        let mut mount = Self { name: "", path: "", is_partial: false };
        for (key, value) in json::fields(value, "a volumeMount")? {
            match key {
                "name" => mount.name = json::string(value, "a volumeMount's name")?,
                "mountPath" => mount.path = json::string(value, "a volumeMount's mountPath")?,
                "subPath" => mount.is_partial |= !json::string(value, "a volumeMount's subPath")?.is_empty(),
                "subPathExpr" => {
                    mount.is_partial |= !json::string(value, "a volumeMount's subPathExpr")?.is_empty();
                }
                _ => {}
            }
        }
        Ok(mount)
    }
}
