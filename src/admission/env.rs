//! The variables: which a pod is given, and which a container already has.

use std::borrow::Cow;

use super::{pod::Pod, session_name::session_name};
use crate::{
    binding::{Binding, RegionEnv},
    render,
    settings::{Os, Region, Settings},
};

/// The env entries of one pod, in the order in which they are injected.
pub(super) struct Env<'a> {
    role: &'a [u8],
    token_file: &'a [u8],
    region: Option<PodRegion<'a>>,
    session_name: Cow<'a, [u8]>,
    sts_regional_endpoints: bool,
}

enum PodRegion<'a> {
    OfAccount(&'a RegionEnv),
    OfPod(RegionEnv),
}

impl<'a> Env<'a> {
    /// The entries for `pod`; `pod_region` is the region that it asks for itself.
    pub(super) fn new(
        token_file: &'a TokenFileEnv,
        pod: &Pod<'_>,
        pod_region: Option<&Region>,
        binding: &'a Binding,
    ) -> Self {
        Self {
            role: binding.role_env(),
            token_file: match pod.os {
                Os::Linux => &token_file.linux,
                Os::Windows => &token_file.windows,
            },
            region: match pod_region {
                Some(region) => RegionEnv::new(region).map(PodRegion::OfPod),
                None => binding.region.as_deref().map(PodRegion::OfAccount),
            },
            session_name: if pod.name.is_empty() {
                render::SESSION_NAME_BY_DOWNWARD_API.into()
            } else {
                let name = session_name(pod.name);
                render::to_vec(|out| render::env(out, render::SESSION_NAME, &name)).into()
            },
            sts_regional_endpoints: binding.sts_regional_endpoints,
        }
    }

    /// What a container lacks that has `present`. What the user set wins, variable by variable; the region is one
    /// unit, since an SDK that reads the other variable would otherwise talk to another region.
    pub(super) fn missing_from(&self, present: EnvNames) -> impl Iterator<Item = &[u8]> {
        let region = match &self.region {
            _ if present.contains(render::REGION) || present.contains(render::DEFAULT_REGION) => None,
            Some(PodRegion::OfAccount(region)) => Some(*region),
            Some(PodRegion::OfPod(region)) => Some(region),
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

/// A set of the variables that this program injects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct EnvNames(u8);

impl EnvNames {
    const ORDER: [&str; 6] = [
        render::ROLE_ARN,
        render::TOKEN_FILE,
        render::REGION,
        render::DEFAULT_REGION,
        render::SESSION_NAME,
        render::STS_REGIONAL_ENDPOINTS,
    ];

    fn bit(name: &str) -> u8 {
        // Nearly every name of a real container fails this test, and costs no more.
        if !name.starts_with("AWS_") {
            return 0;
        }
        Self::ORDER.iter().position(|known| *known == name).map_or(0, |index| 1 << index)
    }

    /// Adds `name` if it is one of them.
    pub(super) fn insert(&mut self, name: &str) {
        self.0 |= Self::bit(name);
    }

    pub(super) fn contains(self, name: &str) -> bool {
        self.0 & Self::bit(name) != 0
    }
}
