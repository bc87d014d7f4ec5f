//! How many accounts are known, by state.

use crate::{
    injection::{
        account::{Account, Credentials},
        warning::{Warning, WarningKind},
    },
    metrics::Label,
};

/// The state of an account, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It has an annotated role.
    Annotated,
    /// It has a role of the mapping.
    Mapped,
    /// Its role does not have the form of an ARN, or another annotation is a mistake.
    Malformed,
    /// It has container credentials.
    ContainerCredentials,
    /// It is given nothing.
    Unannotated,
}

impl State {
    /// The state of an account.
    pub fn of(account: &Account) -> Self {
        let is_malformed = |warning: &Warning| {
            matches!(warning.kind(), WarningKind::RoleArn | WarningKind::AccountAnnotation)
        };
        let grant = match account {
            Account::Nothing => return Self::Unannotated,
            Account::Mistaken(_) => return Self::Malformed,
            Account::Granted(grant) => grant,
        };
        match (&grant.credentials, &grant.settings.mapped_by) {
            (Credentials::Container { .. }, _) => Self::ContainerCredentials,
            (Credentials::Role(_), _) if account.warnings().iter().any(is_malformed) => Self::Malformed,
            (Credentials::Role(_), Some(_)) => Self::Mapped,
            (Credentials::Role(_), None) => Self::Annotated,
        }
    }
}

impl Label for State {
    const ALL: &[Self] =
        &[Self::Annotated, Self::Mapped, Self::Malformed, Self::ContainerCredentials, Self::Unannotated];

    fn label(self) -> &'static str {
        match self {
            Self::Annotated => "annotated",
            Self::Mapped => "mapped",
            Self::Malformed => "malformed",
            Self::ContainerCredentials => "container_credentials",
            Self::Unannotated => "unannotated",
        }
    }
}

/// The number of accounts in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count([usize; State::ALL.len()]);

impl Count {
    /// How many are in this state.
    pub fn get(&self, state: State) -> usize {
        self.0[state as usize]
    }

    /// Each state with its number.
    pub fn iter(&self) -> impl Iterator<Item = (State, usize)> {
        State::ALL.iter().map(|&state| (state, self.get(state)))
    }

    pub(super) fn add(&mut self, account: Option<&Account>) {
        if let Some(account) = account {
            self.0[State::of(account) as usize] += 1;
        }
    }

    pub(super) fn remove(&mut self, account: Option<&Account>) {
        if let Some(account) = account {
            self.0[State::of(account) as usize] -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{ACCOUNT_STATES, labels};

    #[test]
    fn states_are_listed_in_the_order_of_their_numbers() {
        assert_eq!(labels::<State>(), ACCOUNT_STATES);
        assert!(State::ALL.iter().enumerate().all(|(index, &state)| state as usize == index));
    }
}
