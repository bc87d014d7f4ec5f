//! The variables: which a pod is given, and which a container already has.

use super::{delivery::Delivery, pod::Pod, session_name::session_name};
use crate::injection::{
    binding::{Binding, RegionEnv},
    render,
    settings::{Compat, Region},
};

/// The env entries of one pod, in the order in which they are injected.
pub(super) struct Env<'a> {
    /// What is asked for: the role, or where to ask for container credentials.
    identity: (Variable, &'a [u8]),
    token_file: (Variable, &'a [u8]),
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
        delivery: &'a Delivery,
        pod: &Pod<'_>,
        pod_region: Option<&Region>,
        binding: &'a Binding,
        session_name_buffer: &'a mut Vec<u8>,
    ) -> Self {
        Self {
            identity: match &delivery.full_uri {
                None => (Variable::RoleArn, binding.role_env()),
                Some(full_uri) => (Variable::ContainerFullUri, full_uri),
            },
            token_file: (delivery.token_file, delivery.token_file_env(pod.os)),
            region: match pod_region {
                Some(region) => RegionEnv::new(region).map(PodRegion::OfPod),
                None => binding.terms.region.as_deref().map(PodRegion::OfAccount),
            },
            session_name: if delivery.full_uri.is_some() || delivery.compat.is_aws() {
                None
            } else if pod.name.is_empty() {
                Some(render::SESSION_NAME_BY_DOWNWARD_API)
            } else {
                session_name_buffer.clear();
                render::env(session_name_buffer, render::SESSION_NAME, &session_name(pod.name));
                Some(session_name_buffer)
            },
            sts_regional_endpoints: binding.terms.sts_regional_endpoints,
            compat: delivery.compat,
        }
    }

    /// What a container lacks that has `present`. What the user set wins, variable by variable; the region is one
    /// unit, since an SDK that reads the other variable would otherwise talk to another region. To the AWS webhook role
    /// and token file are a unit as well.
    pub(super) fn missing_from(&self, mut present: EnvNames) -> impl Iterator<Item = &[u8]> {
        if self.compat.is_aws() && self.is_told_in(present) {
            present.insert(self.identity.0);
            present.insert(self.token_file.0);
        }
        let region = match &self.region {
            _ if present.has_region() => None,
            Some(PodRegion::OfAccount(region)) => Some(*region),
            Some(PodRegion::OfPod(region)) => Some(region),
            None => None,
        };
        let unless_present = move |variable, entry| (!present.contains(variable)).then_some(entry);
        let (identity, token_file) = (self.identity, self.token_file);
        let sts = self.sts_regional_endpoints.then_some(render::STS_REGIONAL_ENV);
        let identity = unless_present(identity.0, identity.1);
        let token_file = unless_present(token_file.0, token_file.1);
        let default_region = region.map(|region| &*region.default_region);
        let region = region.map(|region| &*region.region);
        let session_name = self.session_name.and_then(|name| unless_present(Variable::SessionName, name));
        let sts = sts.and_then(|sts| unless_present(Variable::StsRegionalEndpoints, sts));
        let missing = match self.compat {
            Compat::None => [identity, token_file, region, default_region, session_name, sts],
            Compat::Aws => [sts, default_region, region, identity, token_file, None],
        };
        missing.into_iter().flatten()
    }

    /// Whether a container that has `present`, and no role, is given one.
    pub(super) fn gives_role_to(&self, present: EnvNames) -> bool {
        !(self.compat.is_aws() && self.is_told_in(present))
    }

    /// Whether the AWS webhook takes a container for one that has all it needs, and gives it no mount either.
    pub(super) fn leaves_alone(&self, present: EnvNames) -> bool {
        self.compat.is_aws()
            && self.is_told_in(present)
            && present.has_region()
            && present.contains(Variable::StsRegionalEndpoints)
    }

    /// Whether either of the variables that tell an SDK of its identity is among `present`.
    fn is_told_in(&self, present: EnvNames) -> bool {
        present.contains(self.identity.0) || present.contains(self.token_file.0)
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
    ContainerFullUri,
    ContainerTokenFile,
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
            render::CONTAINER_FULL_URI => Self::ContainerFullUri,
            render::CONTAINER_TOKEN_FILE => Self::ContainerTokenFile,
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
}
