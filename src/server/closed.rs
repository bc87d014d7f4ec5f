//! Why a connection ended.

use crate::metrics::Label;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// Its peer closed it or asked for that, or an error response ended it.
    Finished,
    /// The connection broke, or the peer did not speak HTTP.
    Broken,
    /// It was idle for too long.
    Idle,
    /// A header came too slowly.
    SlowHeader,
    /// A response was not read in time.
    SlowRead,
    /// It was idle when a new connection needed its place.
    Evicted,
    /// The process is ending.
    Drained,
}

impl Label for Closed {
    const ALL: &[Self] = &[
        Self::Finished,
        Self::Broken,
        Self::Idle,
        Self::SlowHeader,
        Self::SlowRead,
        Self::Evicted,
        Self::Drained,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Broken => "broken",
            Self::Idle => "idle",
            Self::SlowHeader => "slow_header",
            Self::SlowRead => "slow_read",
            Self::Evicted => "evicted",
            Self::Drained => "drained",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{CLOSE_REASONS, labels};

    #[test]
    fn every_reason_is_exposed() {
        assert_eq!(labels::<Closed>(), CLOSE_REASONS);
    }
}
