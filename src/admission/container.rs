//! A container as far as the rules look at it.

use super::{
    BadReview,
    credentials::Token,
    json::{self, Array, Value},
    mount::Mount,
    token_volume::TokenVolume,
};
use crate::injection::{
    settings::InjectedVariable,
    variable::{Variable, Variables},
};

/// A container of any of the pod's lists.
#[derive(Debug, Default)]
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    /// Which variables are set, however.
    pub(super) env: Present,
    /// What `AWS_ROLE_ARN` is set to; empty if its value is taken from elsewhere.
    pub(super) role_arn: Option<&'a str>,
    /// Whether there is an `env` array to add to.
    pub(super) has_env_array: bool,
    /// Whether there is a `volumeMounts` array to append to.
    pub(super) has_mounts_array: bool,
    /// What is mounted where the token is to be mounted.
    pub(super) at_mount_path: AtMountPath,
    /// Whether it mounts a volume of the token's name anywhere.
    pub(super) mounts_name: bool,
}

/// Which variables a container has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present {
    /// Of those that this program knows.
    pub(super) known: Variables,
    /// Of the operator's own, by their place in the settings.
    pub(super) own: u64,
    /// Whether `envFrom` may set further ones.
    pub(super) env_from: bool,
}

/// What a container has where the token is to be mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum AtMountPath {
    /// Nothing.
    #[default]
    Nothing,
    /// A token like ours, and nothing else.
    Token,
    /// Something else. A second mount at the path would make the pod invalid (`ValidateVolumeMounts`,
    /// `pkg/apis/core/validation/validation.go`).
    Foreign,
}

/// What containers are compared with.
#[derive(Clone, Copy)]
pub(super) struct Expected<'a> {
    pub(super) token: &'a Token,
    pub(super) volume: &'a TokenVolume<'a>,
    pub(super) inject_env: &'a [InjectedVariable],
}

impl<'a> Container<'a> {
    /// Reads an element of a container list.
    pub(super) fn read(value: Value<'a>, expected: Expected<'_>) -> Result<Self, BadReview> {
        if value.is_null() {
            return Err(BadReview::Shape { path: "a container", want: "an object" });
        }
        let mut container = Self::default();
        for (key, value) in json::fields(value, "a container")? {
            match key {
                "name" => container.name = json::string(value, "a container's name")?,
                "env" => {
                    let env = json::array(value, "a container's env")?;
                    container.read_env(env, expected.inject_env)?;
                }
                "envFrom" => {
                    let sources = json::array(value, "a container's envFrom")?;
                    container.env.env_from = sources.is_some_and(|sources| sources.len() > 0);
                }
                "volumeMounts" => {
                    container.read_mounts(json::array(value, "a container's volumeMounts")?, expected)?;
                }
                "volumeDevices" => {
                    container.read_devices(json::array(value, "a container's volumeDevices")?, expected)?;
                }
                _ => {}
            }
        }
        Ok(container)
    }

    fn read_env(&mut self, env: Option<Array<'a>>, own: &[InjectedVariable]) -> Result<(), BadReview> {
        self.has_env_array = env.is_some();
        (self.env.known, self.env.own, self.role_arn) = (Variables::default(), 0, None);
        for entry in json::items(env) {
            let (mut name, mut role_arn) = ("", None);
            for (key, value) in json::fields(entry, "an env entry")? {
                match key {
                    "name" => name = json::string(value, "an env entry's name")?,
                    "value" => role_arn = Some(value),
                    _ => {}
                }
            }
            if let Some(index) = own.iter().position(|variable| variable.name() == name) {
                self.env.own |= 1 << index;
            }
            let Some(variable) = Variable::named(name) else { continue };
            self.env.known.insert(variable);
            if variable == Variable::RoleArn {
                self.role_arn = role_arn.and_then(Value::as_str).or(Some(""));
            }
        }
        Ok(())
    }

    fn read_mounts(&mut self, mounts: Option<Array<'a>>, expected: Expected<'_>) -> Result<(), BadReview> {
        self.has_mounts_array = mounts.is_some();
        for mount in json::items(mounts) {
            let Mount { name, path, is_partial } = Mount::read(mount)?;
            if expected.token.mount_path.is(path) {
                self.has_at_mount_path(!is_partial && expected.volume.is_token(name));
            }
            self.mounts_name |= name == expected.token.volume_name.as_ref();
        }
        Ok(())
    }

    fn read_devices(&mut self, devices: Option<Array<'a>>, expected: Expected<'_>) -> Result<(), BadReview> {
        for device in json::items(devices) {
            for (key, value) in json::fields(device, "a volumeDevice")? {
                if key == "devicePath"
                    && expected.token.mount_path.is(json::string(value, "a volumeDevice's devicePath")?)
                {
                    self.has_at_mount_path(false);
                }
            }
        }
        Ok(())
    }

    /// One foreign mount is enough, in any order.
    fn has_at_mount_path(&mut self, is_token: bool) {
        self.at_mount_path = match (self.at_mount_path, is_token) {
            (AtMountPath::Nothing | AtMountPath::Token, true) => AtMountPath::Token,
            _ => AtMountPath::Foreign,
        };
    }
}
