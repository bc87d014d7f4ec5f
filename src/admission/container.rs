//! A container as far as the rules look at it.

use super::{
    BadReview,
    credentials::Token,
    json::{self, Array, Value},
};
use crate::injection::{
    settings::MountPath,
    variable::{Variable, Variables},
};

/// A container of any of the pod's lists.
#[derive(Debug, Default)]
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    /// Which of the variables that this program injects are set, however.
    pub(super) env: Variables,
    /// What `AWS_ROLE_ARN` is set to; empty if its value is taken from elsewhere.
    pub(super) role_arn: Option<&'a str>,
    /// Whether there is an `env` array to append to.
    pub(super) has_env_array: bool,
    /// Whether there is a `volumeMounts` array to append to.
    pub(super) has_mounts_array: bool,
    /// What stands where the token is to be mounted.
    pub(super) at_mount_path: Option<Mounted<'a>>,
    /// Whether it mounts a volume of the token's name anywhere.
    pub(super) mounts_name: bool,
}

/// What a container already has at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mounted<'a> {
    /// The volume of this name.
    Volume(&'a str),
    /// A raw block device.
    Device,
}

impl<'a> Container<'a> {
    /// Reads an element of a container list.
    pub(super) fn read(value: Value<'a>, token: &Token) -> Result<Self, BadReview> {
        if value.is_null() {
            return Err(BadReview::Shape { path: "a container", want: "an object" });
        }
        let mut container = Self::default();
        for (key, value) in json::fields(value, "a container")? {
            match key {
                "name" => container.name = json::string(value, "a container's name")?,
                "env" => container.read_env(json::array(value, "a container's env")?)?,
                "volumeMounts" => {
                    container.read_mounts(json::array(value, "a container's volumeMounts")?, token)?;
                }
                "volumeDevices" => {
                    let devices = json::array(value, "a container's volumeDevices")?;
                    container.read_devices(devices, &token.mount_path)?;
                }
                _ => {}
            }
        }
        Ok(container)
    }

    fn read_env(&mut self, env: Option<Array<'a>>) -> Result<(), BadReview> {
        self.has_env_array = env.is_some();
        (self.env, self.role_arn) = (Variables::default(), None);
        for entry in json::items(env) {
            let (mut name, mut role_arn) = ("", None);
            for (key, value) in json::fields(entry, "an env entry")? {
                match key {
                    "name" => name = json::string(value, "an env entry's name")?,
                    "value" => role_arn = Some(value),
                    _ => {}
                }
            }
            let Some(variable) = Variable::named(name) else { continue };
            self.env.insert(variable);
            if variable == Variable::RoleArn {
                self.role_arn = role_arn.and_then(Value::as_str).or(Some(""));
            }
        }
        Ok(())
    }

    fn read_mounts(&mut self, mounts: Option<Array<'a>>, token: &Token) -> Result<(), BadReview> {
        self.has_mounts_array = mounts.is_some();
        for mount in json::items(mounts) {
            let (mut name, mut path) = ("", "");
            for (key, value) in json::fields(mount, "a volumeMount")? {
                match key {
                    "name" => name = json::string(value, "a volumeMount's name")?,
                    "mountPath" => path = json::string(value, "a volumeMount's mountPath")?,
                    _ => {}
                }
            }
            if token.mount_path.is(path) {
                self.at_mount_path = Some(Mounted::Volume(name));
            }
            self.mounts_name |= name == token.volume_name.as_ref();
        }
        Ok(())
    }

    /// A device at the mount path makes the pod invalid just as a second mount does (`ValidateVolumeMounts`,
    /// `pkg/apis/core/validation/validation.go`).
    fn read_devices(&mut self, devices: Option<Array<'a>>, mount_path: &MountPath) -> Result<(), BadReview> {
        for device in json::items(devices) {
            for (key, value) in json::fields(device, "a volumeDevice")? {
                if key == "devicePath" && mount_path.is(json::string(value, "a volumeDevice's devicePath")?) {
                    self.at_mount_path = Some(Mounted::Device);
                }
            }
        }
        Ok(())
    }
}
