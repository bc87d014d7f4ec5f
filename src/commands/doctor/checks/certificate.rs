//! Whether the `caBundle` trusts the certificates that replicas serve.

use std::{net::SocketAddr, time::SystemTime};

use base64_simd::STANDARD;
use serde_json::Value;

use crate::{kube::fields::text, report::Finding, tls::self_managed::certificate::Certificate};

const CHECK: &str = "certificate";
const KEEP: &str = "if it is self-managed, see docs/runbook.md, PodIdentityWebhookCertificateNotKept; otherwise put the \
                    authority of the certificate into caBundle";

/// The result of a handshake that trusts the `caBundle`.
#[derive(Clone, Debug)]
pub(crate) enum Handshake {
    /// The certificate is trusted.
    Trusted(Certificate),
    /// It is not trusted, for this reason.
    Refused(String),
    /// The replica can't be reached from here.
    Unreachable(String),
}

/// The authorities of an entry's `caBundle`, or what is wrong with it.
pub(crate) fn authorities(entry: &Value) -> Result<Vec<Certificate>, String> {
    let bundle = text(entry, "/clientConfig/caBundle");
    let pem = STANDARD.decode_to_vec(bundle).map_err(|_| "not base64".to_owned())?;
    let authorities = Certificate::parse_pem(&pem)?;
    if authorities.is_empty() { Err("it is empty".to_owned()) } else { Ok(authorities) }
}

/// Whether the `caBundle` of an entry holds a valid authority.
pub(crate) fn ca_bundle(entry: &Value, now: SystemTime) -> Option<Finding> {
    let name = text(entry, "/name");
    match authorities(entry) {
        Err(why) => Some(Finding::fail(CHECK, format!("caBundle of {name}: {why}"), KEEP)),
        Ok(all) if all.iter().all(|authority| authority.has_expired(now)) => {
            Some(Finding::fail(CHECK, format!("caBundle of {name}: its authorities have expired"), KEEP))
        }
        Ok(_) => None,
    }
}

/// Whether the certificates of the replicas are trusted, for the name that the API server calls.
pub(crate) fn served(
    server_name: &str,
    handshakes: &[(SocketAddr, Handshake)],
    now: SystemTime,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut trusted = Vec::new();
    for (address, handshake) in handshakes {
        match handshake {
            Handshake::Trusted(certificate) => trusted.push(certificate),
            Handshake::Refused(why) => {
                findings.push(Finding::fail(CHECK, format!("{address}, as {server_name}: {why}"), KEEP));
            }
            Handshake::Unreachable(why) => {
                let remedy =
                    "run doctor in the cluster, or give --service-account: then the API server tries it";
                findings.push(Finding::skip(
                    CHECK,
                    format!("{address} can't be reached from here: {why}"),
                    remedy,
                ));
            }
        }
    }
    if let Some(first) = trusted.iter().map(|certificate| certificate.expires()).min() {
        let days = first.duration_since(now).unwrap_or_default().as_secs() / (24 * 60 * 60);
        let found = format!(
            "{} of {} replicas are trusted as {server_name}, for {days} days",
            trusted.len(),
            handshakes.len()
        );
        findings.push(match days {
            0..7 => {
                Finding::warn(CHECK, found, "see docs/runbook.md, PodIdentityWebhookCertificateExpiresSoon")
            }
            _ => Finding::pass(CHECK, found),
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::{
        report::Level,
        tls::self_managed::{
            authority::{make_authority, sign_leaf},
            policy::Policy,
        },
    };

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[test]
    fn bundles_and_what_is_served_are_told() {
        let policy = Policy {
            names: Policy::names("hook", "ns", "cluster.local"),
            authority_validity: 100 * DAY,
            leaf_validity: 30 * DAY,
            overlap: DAY,
            jitter: 0.0,
        };
        let now = SystemTime::now();
        let (authority, key) = make_authority(&policy, now).unwrap();
        let entry = |bundle: &str| json!({"name": "x", "clientConfig": {"caBundle": STANDARD.encode_to_string(bundle)}});
        assert!(ca_bundle(&entry(&authority.pem()), now).is_none());
        assert!(ca_bundle(&entry(&authority.pem()), now + 101 * DAY).unwrap().found.contains("expired"));
        assert!(ca_bundle(&entry(""), now).unwrap().found.contains("it is empty"));
        assert!(ca_bundle(&json!({}), now).unwrap().found.contains("it is empty"));

        let leaf = sign_leaf(&authority, &key, &policy, now).unwrap().certificate;
        let address: SocketAddr = "10.0.0.1:8443".parse().unwrap();
        let of = |handshake: Handshake, at| served("hook.ns.svc", &[(address, handshake)], at)[0].clone();
        let finding = of(Handshake::Trusted(leaf.clone()), now);
        assert_eq!(
            (finding.level, &*finding.found),
            (Level::Pass, "1 of 1 replicas are trusted as hook.ns.svc, for 29 days")
        );
        assert_eq!(of(Handshake::Trusted(leaf), now + 25 * DAY).level, Level::Warn);
        assert_eq!(of(Handshake::Refused("UnknownIssuer".into()), now).level, Level::Fail);
        assert_eq!(of(Handshake::Unreachable("timed out".into()), now).level, Level::Skip);
    }
}
