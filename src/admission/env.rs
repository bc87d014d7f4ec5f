//! The variables: which a pod is given, and which a container already has.

use super::{pod::Pod, session_name::session_name};
use crate::{
    binding::{Binding, RegionEnv},
    render,
    settings::{Compat, Os, Region, Settings},
};

/// The env entries of one pod, in the order in which they are injected.
pub(super) struct Env<'a> {
    role: &'a [u8],
    token_file: &'a [u8],
    region: Option<PodRegion<'a>>,
    session_name: Option<&'a [u8]>,
    sts_regional_endpoints: bool,
    compat: Compat,
}

enum PodRegion<'a> {
    OfAccount(&'a RegionEnv),
    OfPod(RegionEnv),
}

impl<'a> Env<'a> {
    /// The entries for `pod`; `pod_region` is the region that it asks for itself. The session name's is written to
    /// `session_name_buffer`.
    pub(super) fn new(
        token_file: &'a TokenFileEnv,
        compat: Compat,
        pod: &Pod<'_>,
        pod_region: Option<&Region>,
        binding: &'a Binding,
        session_name_buffer: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            role: binding.role_env(),
            token_file: match pod.os {
                Os::Linux => &token_file.linux,
                Os::Windows => &token_file.windows,
            },
            region: match pod_region {
                Some(region) => RegionEnv::new(region).map(PodRegion::OfPod),
                None => binding.terms.region.as_deref().map(PodRegion::OfAccount),
            },
            session_name: match compat {
                Compat::Aws => None,
                Compat::None if pod.name.is_empty() => Some(render::SESSION_NAME_BY_DOWNWARD_API),
                Compat::None => {
                    session_name_buffer.clear();
                    render::env(session_name_buffer, render::SESSION_NAME, &session_name(pod.name));
                    Some(session_name_buffer)
                }
            },
            sts_regional_endpoints: binding.terms.sts_regional_endpoints,
            compat,
        }
    }

    /// What a container lacks that has `present`. What the user set wins, variable by variable; the region is one
    /// unit, since an SDK that reads the other variable would otherwise talk to another region. To the AWS webhook role
    /// and token file are a unit as well.
    pub(super) fn missing_from(&self, mut present: EnvNames) -> impl Iterator<Item = &[u8]> {
        if self.compat.is_aws() && present.has_web_identity() {
            present.insert(Variable::RoleArn);
            present.insert(Variable::TokenFile);
        }
        let region = match &self.region {
            _ if present.has_region() => None,
            Some(PodRegion::OfAccount(region)) => Some(*region),
            Some(PodRegion::OfPod(region)) => Some(region),
            None => None,
        };
        let unless_present = move |variable, entry| (!present.contains(variable)).then_some(entry);
        let sts = self.sts_regional_endpoints.then_some(render::STS_REGIONAL_ENV);
        let role = unless_present(Variable::RoleArn, self.role);
        let token_file = unless_present(Variable::TokenFile, self.token_file);
        let default_region = region.map(|region| &*region.default_region);
        let region = region.map(|region| &*region.region);
        let session_name = self.session_name.and_then(|name| unless_present(Variable::SessionName, name));
        let sts = sts.and_then(|sts| unless_present(Variable::StsRegionalEndpoints, sts));
        let missing = match self.compat {
            Compat::None => [role, token_file, region, default_region, session_name, sts],
            Compat::Aws => [sts, default_region, region, role, token_file, None],
        };
        missing.into_iter().flatten()
    }

    /// Whether a container that has `present`, and no role, is given one.
    pub(super) fn gives_role_to(&self, present: EnvNames) -> bool {
        !(self.compat.is_aws() && present.has_web_identity())
    }

    /// Whether the AWS webhook takes a container for one that has all it needs, and gives it no mount either.
    pub(super) fn leaves_alone(&self, present: EnvNames) -> bool {
        self.compat.is_aws()
            && present.has_web_identity()
            && present.has_region()
            && present.contains(Variable::StsRegionalEndpoints)
    }
}

/// The env entry that says where the token is. It depends on the settings alone, and is rendered once.
#[derive(Debug)]
pub(super) struct TokenFileEnv {
    linux: Vec<u8>,
    windows: Vec<u8>,
}

impl TokenFileEnv {
    pub(super) fn new(settings: &Settings) -> Self {
        let entry = |os| {
            let path = settings.mount_path.token_file(os);
            render::to_vec(|out| render::env(out, render::TOKEN_FILE, &path))
        };
        Self { linux: entry(Os::Linux), windows: entry(Os::Windows) }
    }
}

/// A variable that this program injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    RoleArn,
    TokenFile,
    Region,
    DefaultRegion,
    SessionName,
    StsRegionalEndpoints,
}

impl Variable {
    /// The variable of this name, if it is one of them.
    pub(super) fn named(name: &str) -> Option<Self> {
        // Nearly every name of a real container fails this test, and costs no more.
        if !name.starts_with("AWS_") {
            return None;
        }
        Some(match name {
            render::ROLE_ARN => Self::RoleArn,
            render::TOKEN_FILE => Self::TokenFile,
            render::REGION => Self::Region,
            render::DEFAULT_REGION => Self::DefaultRegion,
            render::SESSION_NAME => Self::SessionName,
            render::STS_REGIONAL_ENDPOINTS => Self::StsRegionalEndpoints,
            _ => return None,
        })
    }
}

/// A set of variables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EnvNames(u8);

impl EnvNames {
    pub(super) fn insert(&mut self, variable: Variable) {
        self.0 |= 1 << variable as u8;
    }

    pub(super) fn contains(self, variable: Variable) -> bool {
        self.0 & 1 << variable as u8 != 0
    }

    fn has_region(self) -> bool {
        self.contains(Variable::Region) || self.contains(Variable::DefaultRegion)
    }

    fn has_web_identity(self) -> bool {
        self.contains(Variable::RoleArn) || self.contains(Variable::TokenFile)
    }
}
