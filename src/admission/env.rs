//! The variables that a pod is given, and which of them a container lacks.

use super::{container::Present, credentials::CredentialMode, pod::Pod, session_name::session_name};
use crate::injection::{
    account::{Grant, RegionEnv},
    compat::Rules,
    render,
    settings::{InjectedVariable, SessionName},
    variable::{Variable, Variables},
};

/// The env entries of one pod.
pub(super) struct Env<'a> {
    /// By the number of their variable.
    entries: [Option<&'a [u8]>; Variable::ALL.len()],
    /// The two variables by which an SDK finds its credentials.
    identity: [Variable; 2],
    /// Whether the region is the built-in default.
    region_is_built_in: bool,
    rules: &'static Rules,
    /// The operator's own.
    inject_env: &'a [InjectedVariable],
}

impl<'a> Env<'a> {
    /// The entries for `pod`. The session name's is written to `session_name_buffer`.
    pub(super) fn new(
        (rules, inject_env): (&'static Rules, &'a [InjectedVariable]),
        mode: &'a CredentialMode,
        (pod, session_name): (&Pod<'_>, SessionName),
        region: Option<&'a RegionEnv>,
        grant: &'a Grant,
        session_name_buffer: &'a mut Vec<u8>,
    ) -> Self {
        let mut env = Self {
            entries: [None; Variable::ALL.len()],
            identity: mode.variables(),
            region_is_built_in: region.is_some_and(|region| region.is_built_in),
            rules,
            inject_env,
        };
        match mode {
            CredentialMode::WebIdentity(_) => {
                env.set(Variable::RoleArn, grant.role().map(|role| role.env()));
                let name =
                    (session_name == SessionName::Pod).then(|| session_name_entry(pod, session_name_buffer));
                env.set(Variable::SessionName, name);
            }
            CredentialMode::ContainerCredentials { full_uri, .. } => {
                env.set(Variable::ContainerFullUri, Some(full_uri));
            }
        }
        env.set(mode.token().variable, Some(mode.token().env(pod.os)));
        env.set(Variable::Region, region.map(|region| &*region.region));
        env.set(Variable::DefaultRegion, region.map(|region| &*region.default_region));
        for (variable, entry) in &*grant.settings.variables {
            env.set(*variable, Some(entry));
        }
        env
    }

    fn set(&mut self, variable: Variable, entry: Option<&'a [u8]>) {
        self.entries[variable as usize] = entry;
    }

    /// What a container lacks that has `present`. A variable that it has is kept, and the others are added. The region is
    /// one unit, since an SDK that reads the other variable would otherwise talk to another region.
    pub(super) fn missing_from(&self, present: Present) -> impl Iterator<Item = &'a [u8]> {
        let Present { mut known, own, env_from } = present;
        if !self.gives_identity_to(known) {
            self.identity.into_iter().for_each(|variable| known.insert(variable));
        }
        if has_region(known) || env_from && self.region_is_built_in {
            known.insert(Variable::Region);
            known.insert(Variable::DefaultRegion);
        }
        let missing = self.rules.env_order.iter().filter(move |variable| !known.contains(**variable));
        let entries = self.entries;
        let missing = missing.filter_map(move |&variable| entries[variable as usize]);
        let further = self.inject_env.iter().enumerate();
        missing.chain(
            further.filter(move |(index, _)| own & 1 << index == 0).map(|(_, variable)| variable.entry()),
        )
    }

    /// Whether a container that has `present` is given those variables of its identity that it lacks.
    pub(super) fn gives_identity_to(&self, present: Variables) -> bool {
        !(self.rules.identity_is_one_unit && self.has_identity(present))
    }

    /// Whether a container that has `present` is not given anything, not even the mount.
    pub(super) fn skips(&self, present: Variables) -> bool {
        self.rules.skip_containers_with_all_variables
            && self.has_identity(present)
            && has_region(present)
            && present.contains(Variable::StsRegionalEndpoints)
    }

    fn has_identity(&self, present: Variables) -> bool {
        self.identity.into_iter().any(|variable| present.contains(variable))
    }
}

fn has_region(present: Variables) -> bool {
    present.contains(Variable::Region) || present.contains(Variable::DefaultRegion)
}

fn session_name_entry<'a>(pod: &Pod<'_>, buffer: &'a mut Vec<u8>) -> &'a [u8] {
    if pod.name.is_empty() {
        return render::SESSION_NAME_BY_DOWNWARD_API;
    }
    buffer.clear();
    render::env(buffer, Variable::SessionName.name(), &session_name(pod.name));
    buffer
}
