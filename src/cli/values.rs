//! Parses the values of flags. An error says what is wanted.

use std::{net::IpAddr, time::Duration};

use crate::{injection::settings::is_dns_subdomain, tls::TlsVersion};

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|&duration| duration <= Duration::from_secs(24 * 60 * 60))
        .ok_or_else(|| {
            "a duration is a number with a unit, such as 500ms, 10s or 2m, and at most a day".to_owned()
        })
}

/// The name of an object, or a part of a DNS name.
pub(super) fn dns_name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("a name has at most 253 characters of a-z, 0-9, '-' and '.'".to_owned())
}

/// A name or an address that a certificate can have.
pub(super) fn server_name(text: &str) -> Result<String, String> {
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    dns_name(text).map_err(|error| format!("neither an IP address nor a DNS name: {error}"))
}

/// The name of an object, or nothing, where that means something.
pub(super) fn dns_name_or_nothing(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { dns_name(text) }
}

/// A ServiceAccount, as namespace and name.
pub(super) fn account_name(text: &str) -> Result<(String, String), String> {
    let (namespace, name) = text.split_once('/').ok_or("want NAMESPACE/NAME")?;
    Ok((dns_name(namespace)?, dns_name(name)?))
}

/// A validity. x509 counts whole seconds, and a century is as good as for ever.
pub(super) fn long_duration(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(100 * 366 * 24 * 60 * 60);
    humantime::parse_duration(text).ok().filter(|duration| bounds.contains(duration)).ok_or_else(|| {
        "a validity is a number with a unit, such as 12h, 90days or 10years, from 1s to 100years".to_owned()
    })
}

pub(super) fn tls_version(text: &str) -> Result<TlsVersion, String> {
    match text {
        "1.2" => Ok(TlsVersion::Tls12),
        "1.3" => Ok(TlsVersion::Tls13),
        _ => Err("1.2 and 1.3 are spoken".to_owned()),
    }
}

pub(super) fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it has to be longer than zero".to_owned()),
        duration => Ok(duration),
    }
}

pub(super) fn idle_duration(text: &str) -> Result<Duration, String> {
    let idle = duration(text)?;
    if idle < Duration::from_secs(120) { Err("it has to be at least 120s".to_owned()) } else { Ok(idle) }
}

pub(super) fn positive_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
    count.ok_or_else(|| "a count is a number from 1 to 1000000".to_owned())
}

pub(super) fn positive_number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "want a number above zero, such as 1.1".to_owned())
}
