//! The API server's clock.
//!
//! kube-apiserver decides whether a certificate is valid. So its clock counts, which every response carries, and not the
//! clock of the node.

use std::time::{Duration, SystemTime};

use hyper::{HeaderMap, header::DATE};
use tokio::sync::watch;
use tracing::{info, warn};

/// Differences below this are left alone: the header has whole seconds, and certificates are backdated by more.
const NEGLIGIBLE: u64 = 60;

/// A clock that the API server's answers correct. Clones are the same clock.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// How many seconds the API server's clock is ahead of ours.
    ahead: watch::Sender<i64>,
}

impl Clock {
    /// The time.
    pub fn now(&self) -> SystemTime {
        let ahead = *self.ahead.borrow();
        let by = Duration::from_secs(ahead.unsigned_abs());
        if ahead < 0 { SystemTime::now() - by } else { SystemTime::now() + by }
    }

    /// Changes whenever the clock is set.
    pub fn settings(&self) -> watch::Receiver<i64> {
        self.ahead.subscribe()
    }

    /// Compares with the `Date` of an answer that came just now.
    pub fn correct(&self, headers: &HeaderMap) {
        let date = headers.get(DATE).and_then(|date| httpdate::parse_http_date(date.to_str().ok()?).ok());
        let Some(date) = date else { return };
        let ahead = match date.duration_since(SystemTime::now()) {
            Ok(ahead) => i64::try_from(ahead.as_secs()).unwrap_or(0),
            Err(behind) => -i64::try_from(behind.duration().as_secs()).unwrap_or(0),
        };
        let ahead = if ahead.unsigned_abs() < NEGLIGIBLE { 0 } else { ahead };
        let is_set = self.ahead.send_if_modified(|last| {
            let differs = ahead.abs_diff(*last) >= NEGLIGIBLE;
            if differs {
                *last = ahead;
            }
            differs
        });
        match (is_set, ahead) {
            (false, _) => {}
            (true, 0) => info!("the clocks of this node and of the API server agree again"),
            (true, seconds) => warn!(
                seconds,
                "the API server's clock is ahead of this node's (below zero: behind); certificates go by the former"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_s_clock_counts() {
        let clock = Clock::default();
        let answer = |date: SystemTime| {
            let date = httpdate::fmt_http_date(date).parse().unwrap();
            clock.correct(&HeaderMap::from_iter([(DATE, date)]));
        };
        let day = Duration::from_secs(24 * 60 * 60);
        let is_about = |time: SystemTime| {
            let now = clock.now();
            now.duration_since(time).or_else(|_| time.duration_since(now)).unwrap().as_secs() < NEGLIGIBLE
        };
        answer(SystemTime::now() + day);
        assert!(is_about(SystemTime::now() + day));
        clock.correct(&HeaderMap::new());
        assert!(is_about(SystemTime::now() + day));
        answer(SystemTime::now() - day);
        assert!(is_about(SystemTime::now() - day));
        answer(SystemTime::now() - Duration::from_secs(2));
        assert_eq!(*clock.ahead.borrow(), 0);
    }
}
