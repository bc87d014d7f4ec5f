//! Durations and addresses as Go reads them.

use std::{net::SocketAddr, time::Duration};

/// An address to listen at (`net.Listen`): that of no host is every one's.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    match host {
        "" => format!("[::]:{port}").parse().ok(),
        "localhost" => format!("127.0.0.1:{port}").parse().ok(),
        _ => text.parse().ok(),
    }
}

/// A duration (`time.ParseDuration`): `100ms`, `1m30s`, `1.5h`, a bare `0`. One below zero counts as zero.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let (mut total, mut rest) = (None, text);
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, behind) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?;
        total = Some(total.unwrap_or(Duration::ZERO).checked_add(part)?);
        rest = behind;
    }
    total.map(|total| if is_negative { Duration::ZERO } else { total })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, milliseconds) in [
            ("0", 0),
            ("+0", 0),
            ("0s", 0),
            ("100ms", 100),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("1.s", 1000),
            ("2h45m0.5s", 9_900_500),
            ("1500us", 1),
            ("2000µs", 2),
            ("-1m", 0),
        ] {
            assert_eq!(duration(text).map(|found| found.as_millis()), Some(milliseconds), "{text}");
        }
        for bad in ["", "-", "1", "1 s", "s", ".s", "1d", "1s2", "1.2.3s", "1e3s", "99999999999999999999h"] {
            assert_eq!(duration(bad), None, "{bad:?}");
        }
    }
}
