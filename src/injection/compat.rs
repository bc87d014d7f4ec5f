//! Compatibility with other webhooks, rule by rule.

use std::{fmt, str::FromStr};

use thiserror::Error;

use super::variable::Variable;

/// Which webhook's pods this program's pods equal, where there is more than one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compat {
    /// Our own rules.
    #[default]
    None,
    /// Those of the AWS webhook, amazon-eks-pod-identity-webhook, except where it makes pods invalid or loses their fields.
    Aws,
}

/// Not the name of a webhook with rules of its own.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("want none, or aws for amazon-eks-pod-identity-webhook")]
pub struct UnknownWebhook;

/// The rules that differ between webhooks.
#[derive(Debug)]
pub struct Rules {
    /// `skip-containers` is read on ServiceAccounts, not only on pods.
    pub account_skip_containers: bool,
    /// Spaces around the names in lists of containers do not count.
    pub trim_container_names: bool,
    /// Windows pods are recognised by `nodeSelector` alone.
    pub os_by_node_selector_only: bool,
    /// Any volume or mount that has the token volume's name counts as the token, at any path.
    pub token_volume_by_name_only: bool,
    /// A container that has one of the two variables of its identity is given neither.
    pub identity_is_one_unit: bool,
    /// A container that has the variables of identity, region and STS endpoints is not given the mount either.
    pub skip_containers_with_all_variables: bool,
    /// Variables are added before those that a container has, which can then refer to them.
    pub env_first: bool,
    /// A region of another partition than the role's is not injected unless an annotation sets it.
    pub withhold_region_of_other_partition: bool,
    /// The volume and the label are added even where no container uses them.
    pub volume_without_containers: bool,
    /// The volume becomes the pod's first.
    pub volume_first: bool,
    /// The order in which variables are injected.
    pub env_order: &'static [Variable],
}

const OURS: Rules = Rules {
    account_skip_containers: true,
    trim_container_names: true,
    os_by_node_selector_only: false,
    token_volume_by_name_only: false,
    identity_is_one_unit: false,
    skip_containers_with_all_variables: false,
    env_first: true,
    withhold_region_of_other_partition: true,
    volume_without_containers: false,
    volume_first: false,
    env_order: Variable::INJECTED,
};

/// The AWS webhook's order, then the variables that it does not have.
const AWS_ORDER: [Variable; Variable::INJECTED.len()] = {
    let first = [
        Variable::StsRegionalEndpoints,
        Variable::DefaultRegion,
        Variable::Region,
        Variable::RoleArn,
        Variable::ContainerFullUri,
        Variable::TokenFile,
        Variable::ContainerTokenFile,
        Variable::SessionName,
    ];
    let mut order = [Variable::RoleArn; Variable::INJECTED.len()];
    order.copy_from_slice(Variable::INJECTED);
    order.split_at_mut(first.len()).0.copy_from_slice(&first);
    order
};

const AWS: Rules = Rules {
    account_skip_containers: false,
    trim_container_names: false,
    os_by_node_selector_only: true,
    token_volume_by_name_only: true,
    identity_is_one_unit: true,
    skip_containers_with_all_variables: true,
    env_first: false,
    withhold_region_of_other_partition: false,
    volume_without_containers: true,
    volume_first: true,
    env_order: &AWS_ORDER,
};

impl Compat {
    /// The rules to follow.
    pub fn rules(self) -> &'static Rules {
        match self {
            Self::None => &OURS,
            Self::Aws => &AWS,
        }
    }
}

impl fmt::Display for Compat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::Aws => "aws",
        })
    }
}

impl FromStr for Compat {
    type Err = UnknownWebhook;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::None),
            "aws" => Ok(Self::Aws),
            _ => Err(UnknownWebhook),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_has_its_place_in_every_order() {
        for rules in [&OURS, &AWS] {
            assert_eq!(rules.env_order.len(), Variable::INJECTED.len());
            assert!(Variable::INJECTED.iter().all(|variable| rules.env_order.contains(variable)));
        }
    }
}
