//! How credentials reach a container: by which token, where it is mounted, and which variables tell an SDK. This depends on
//! the settings alone and is rendered once.

use crate::injection::{
    account::Credentials,
    render,
    settings::{ContainerCredentials, MountPath, Os, Settings, TOKEN_PATH, VolumeName},
    variable::Variable,
};

/// The modes that the settings allow.
#[derive(Debug)]
pub(super) struct Modes {
    web_identity: CredentialMode,
    container_credentials: Option<CredentialMode>,
}

/// A way to give credentials.
#[derive(Debug)]
pub(super) enum CredentialMode {
    /// SDKs exchange the token for a role's credentials at STS.
    WebIdentity(Token),
    /// SDKs ask an agent for credentials and show it the token. There is no role, and no session to name.
    ContainerCredentials {
        /// The token.
        token: Token,
        /// The env entry that says where to ask.
        full_uri: Vec<u8>,
    },
}

/// A projected token as containers see it.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) volume_name: VolumeName,
    pub(super) mount_path: MountPath,
    /// The token's file within the volume.
    pub(super) path: Box<str>,
    /// The mount of the volume under its first name.
    pub(super) mount: Vec<u8>,
    /// The variable that says where the token is.
    pub(super) variable: Variable,
    linux: Vec<u8>,
    windows: Vec<u8>,
}

impl Modes {
    pub(super) fn new(settings: &Settings) -> Self {
        let container_credentials = settings.container_credentials.as_ref();
        Self {
            web_identity: CredentialMode::web_identity(settings),
            container_credentials: container_credentials.map(CredentialMode::container_credentials),
        }
    }

    /// The mode by which these credentials are given.
    pub(super) fn of(&self, credentials: &Credentials) -> &CredentialMode {
        match (credentials, &self.container_credentials) {
            (Credentials::Container { .. }, Some(mode)) => mode,
            (Credentials::Container { .. }, None) | (Credentials::Role(_), _) => &self.web_identity,
        }
    }
}

impl CredentialMode {
    fn web_identity(settings: &Settings) -> Self {
        let (name, path) = (settings.volume_name.clone(), settings.mount_path.clone());
        Self::WebIdentity(Token::new(name, path, TOKEN_PATH, Variable::TokenFile))
    }

    fn container_credentials(settings: &ContainerCredentials) -> Self {
        let (name, path) = (settings.volume_name.clone(), settings.mount_path.clone());
        let (variable, uri) = (Variable::ContainerFullUri.name(), settings.full_uri.as_ref());
        Self::ContainerCredentials {
            token: Token::new(name, path, settings.token_path.as_ref(), Variable::ContainerTokenFile),
            full_uri: render::to_vec(|out| render::env(out, variable, uri)),
        }
    }

    pub(super) fn token(&self) -> &Token {
        match self {
            Self::WebIdentity(token) | Self::ContainerCredentials { token, .. } => token,
        }
    }

    /// The two variables by which an SDK finds its credentials.
    pub(super) fn variables(&self) -> [Variable; 2] {
        match self {
            Self::WebIdentity(token) => [Variable::RoleArn, token.variable],
            Self::ContainerCredentials { token, .. } => [Variable::ContainerFullUri, token.variable],
        }
    }
}

impl Token {
    fn new(volume_name: VolumeName, mount_path: MountPath, path: &str, variable: Variable) -> Self {
        let entry = |os| {
            let file = mount_path.token_file(path, os);
            render::to_vec(|out| render::env(out, variable.name(), &file))
        };
        let (linux, windows) = (entry(Os::Linux), entry(Os::Windows));
        let mount = render::to_vec(|out| render::mount(out, volume_name.as_ref(), mount_path.as_ref()));
        Self { volume_name, mount_path, path: path.into(), mount, variable, linux, windows }
    }

    /// The mount of the volume under another name.
    pub(super) fn mount_of(&self, volume_name: &str) -> Vec<u8> {
        render::to_vec(|out| render::mount(out, volume_name, self.mount_path.as_ref()))
    }

    /// The env entry that says where the token is.
    pub(super) fn env(&self, os: Os) -> &[u8] {
        match os {
            Os::Linux => &self.linux,
            Os::Windows => &self.windows,
        }
    }
}
