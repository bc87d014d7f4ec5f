//! Not to write the `caBundle` as fast as something else overwrites it.

use std::time::{Duration, Instant};

/// Repairs closer together than this belong to one quarrel.
const CALM: Duration = Duration::from_secs(5);

/// How many repairs are made at once before they are spaced out.
const AT_ONCE: u32 = 10;

/// The repairs of late: patches though the Secret has not changed.
#[derive(Debug, Default)]
pub(super) struct Quarrel {
    secret: Option<String>,
    repairs: u32,
    last: Option<Instant>,
}

impl Quarrel {
    /// How long to leave the `caBundle` alone; `None` for a patch to be made now, which is counted.
    pub(super) fn pause(&mut self, secret: Option<&str>, now: Instant) -> Option<Duration> {
        let since = self.last.map_or(CALM, |last| now.saturating_duration_since(last));
        if since >= CALM || self.secret.as_deref() != secret {
            self.repairs = 0;
        }
        if self.repairs >= AT_ONCE {
            return Some(CALM - since);
        }
        self.repairs += 1;
        self.secret = secret.map(ToOwned::to_owned);
        self.last = Some(now);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repairs_are_spaced_out_once_they_become_a_quarrel() {
        let (mut quarrel, start) = (Quarrel::default(), Instant::now());
        for _ in 0..AT_ONCE {
            assert_eq!(quarrel.pause(Some("1"), start), None);
        }
        assert_eq!(quarrel.pause(Some("1"), start + CALM / 5), Some(CALM - CALM / 5));
        assert_eq!(quarrel.pause(Some("2"), start + CALM / 5), None, "a rotation waits for nothing");
        assert_eq!(quarrel.pause(Some("2"), start + CALM * 2), None);
    }
}
