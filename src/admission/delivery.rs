//! How an identity reaches a pod: by which token, where it is mounted, and which variables tell an SDK of it. It depends on
//! the settings alone, and is rendered once.

use super::env::Variable;
use crate::injection::{
    render,
    settings::{Compat, ContainerCredentials, MountPath, Os, Settings, TOKEN_PATH, VolumeName},
};

/// One way to deliver an identity.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) volume_name: VolumeName,
    pub(super) mount_path: MountPath,
    /// The token's file within the volume.
    pub(super) token_path: Box<str>,
    /// The mount of the volume under its first name.
    pub(super) mount: Vec<u8>,
    /// Says where the token is.
    pub(super) token_file: Variable,
    linux: Vec<u8>,
    windows: Vec<u8>,
    /// The env entry that says where to ask for container credentials, which need no role and no name of a session.
    pub(super) full_uri: Option<Vec<u8>>,
    /// Whose rules are followed.
    pub(super) compat: Compat,
}

impl Delivery {
    /// A token that is exchanged for a role's credentials at STS.
    pub(super) fn of_web_identity(settings: &Settings) -> Self {
        let (name, path) = (settings.volume_name.clone(), settings.mount_path.clone());
        let variable = (Variable::TokenFile, render::TOKEN_FILE);
        Self { compat: settings.compat, ..Self::new(name, path, TOKEN_PATH, variable) }
    }

    /// A token that an agent takes.
    pub(super) fn of_container_credentials(credentials: &ContainerCredentials, compat: Compat) -> Self {
        let (name, path) = (credentials.volume_name.clone(), credentials.mount_path.clone());
        let variable = (Variable::ContainerTokenFile, render::CONTAINER_TOKEN_FILE);
        let uri = credentials.full_uri.as_ref();
        let full_uri = render::to_vec(|out| render::env(out, render::CONTAINER_FULL_URI, uri));
        let delivery = Self::new(name, path, credentials.token_path.as_ref(), variable);
        Self { full_uri: Some(full_uri), compat, ..delivery }
    }

    fn new(
        volume_name: VolumeName,
        mount_path: MountPath,
        token_path: &str,
        (token_file, variable): (Variable, &str),
    ) -> Self {
        let entry = |os| {
            let path = mount_path.token_file(token_path, os);
            render::to_vec(|out| render::env(out, variable, &path))
        };
        let (linux, windows) = (entry(Os::Linux), entry(Os::Windows));
        let mount = render::to_vec(|out| render::mount(out, volume_name.as_ref(), mount_path.as_ref()));
        let token_path = token_path.into();
        let compat = Compat::None;
        Self {
            volume_name,
            mount_path,
            token_path,
            mount,
            token_file,
            linux,
            windows,
            full_uri: None,
            compat,
        }
    }

    /// The mount of the volume under another name.
    pub(super) fn mount_of(&self, volume_name: &str) -> Vec<u8> {
        render::to_vec(|out| render::mount(out, volume_name, self.mount_path.as_ref()))
    }

    /// The env entry that says where the token is.
    pub(super) fn token_file_env(&self, os: Os) -> &[u8] {
        match os {
            Os::Linux => &self.linux,
            Os::Windows => &self.windows,
        }
    }
}
