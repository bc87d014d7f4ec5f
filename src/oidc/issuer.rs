//! The cluster's OIDC issuer: the URL that its tokens name, and the URLs below it.

use std::{fmt, net::IpAddr, str::FromStr};

use thiserror::Error;

/// The path of the discovery document (OpenID Connect Discovery 1.0, section 4), also on kube-apiserver.
pub const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";

/// The path of kube-apiserver's public keys.
pub const JWKS_PATH: &str = "/openid/v1/jwks";

/// The domains of AWS' services by partition. The regions of `aws-us-gov` (`us-gov-west-1`) are in those of `aws`.
const AWS_DOMAINS: [(&str, &str); 10] = [
    (".amazonaws.com.cn", "aws-cn"),
    (".api.amazonwebservices.com.cn", "aws-cn"),
    (".amazonaws.eu", "aws-eusc"),
    (".c2s.ic.gov", "aws-iso"),
    (".sc2s.sgov.gov", "aws-iso-b"),
    (".cloud.adc-e.uk", "aws-iso-e"),
    (".csp.hci.ic.gov", "aws-iso-f"),
    (".amazonaws.com", "aws"),
    (".api.aws", "aws"),
    (".on.aws", "aws"),
];

/// The URL of an issuer, exactly as tokens name it: to AWS, URLs with and without a slash at the end are two issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer(Box<str>);

/// Not a URL that both IAM and kube-apiserver accept for an issuer.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("an issuer is a URL such as https://oidc.example.com/cluster: https, no user, query or fragment")]
pub struct InvalidIssuer;

impl Issuer {
    /// IAM's name for it, in the ARN of the identity provider and in condition keys.
    pub fn provider(&self) -> &str {
        self.0.strip_prefix("https://").unwrap_or(&self.0)
    }

    /// The URL of its discovery document.
    pub fn discovery_url(&self) -> String {
        format!("{}{DISCOVERY_PATH}", self.0.trim_end_matches('/'))
    }

    /// The URL of its keys, beside the discovery document.
    pub fn jwks_url(&self) -> String {
        format!("{}{JWKS_PATH}", self.0.trim_end_matches('/'))
    }

    /// Whether it has a port. IAM does not accept such an identity provider.
    pub fn has_port(&self) -> bool {
        authority(&self.0).rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'))
    }

    /// The partition that an issuer on AWS is in; `None` if it is elsewhere.
    pub fn partition(&self) -> Option<&'static str> {
        let authority = authority(&self.0);
        let host = authority.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let (names, partition) = AWS_DOMAINS
            .iter()
            .find_map(|(domain, partition)| Some((host.strip_suffix(domain)?, *partition)))?;
        match names.split(['.', '-']).any(|word| word == "gov") {
            true if partition == "aws" => Some("aws-us-gov"),
            _ => Some(partition),
        }
    }

    /// Whether it can't be found from outside the cluster's network.
    pub fn is_internal(&self) -> bool {
        is_internal(&self.0)
    }
}

/// Whether the host of an `https` URL is a name or an address that AWS can't look up.
pub fn is_internal(url: &str) -> bool {
    let authority = authority(url);
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let names = ["svc", "local", "internal", "lan"];
    // An issuer on localhost is only for trials.
    let Some((_, last)) = host.rsplit_once('.') else { return host != "localhost" };
    host.parse::<IpAddr>().is_ok() || last.bytes().all(|c| c.is_ascii_digit()) || names.contains(&last)
}

fn authority(url: &str) -> &str {
    url.strip_prefix("https://").and_then(|rest| rest.split('/').next()).unwrap_or_default()
}

impl FromStr for Issuer {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        // What an issuer's URL is made of in practice. Nothing of it means anything within a policy, in HCL or in YAML.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:%+[]".contains(c);
        let host = authority(text);
        let valid = text.chars().all(is_plain) && !host.is_empty() && !host.starts_with(':');
        valid.then(|| Self(text.into())).ok_or(InvalidIssuer)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> Issuer {
        text.parse().unwrap()
    }

    #[test]
    fn issuers_are_kept_letter_by_letter() {
        for text in ["https://eastus.oic.prod-aks.azure.com/a/b/", "https://oidc.example.com"] {
            assert_eq!(issuer(text).to_string(), text);
            assert_eq!(issuer(text).provider(), &text[8..]);
        }
        let urls = |text| (issuer(text).discovery_url(), issuer(text).jwks_url());
        let under_a = (
            "https://x.test/a/.well-known/openid-configuration".to_owned(),
            "https://x.test/a/openid/v1/jwks".to_owned(),
        );
        assert_eq!(urls("https://x.test/a"), under_a);
        assert_eq!(urls("https://x.test/a/"), under_a);
    }

    #[test]
    fn other_urls_are_refused() {
        for bad in [
            "",
            "x.test",
            "http://x.test",
            "https://",
            "https://:443",
            "https:///a",
            "https://x.test?a",
            "https://x.test#a",
            "https://me@x.test",
            "https://x.test/${a}",
            "https://x.test/*",
            "https://x.test/ ",
        ] {
            assert_eq!(bad.parse::<Issuer>(), Err(InvalidIssuer), "{bad:?}");
        }
    }

    #[test]
    fn issuers_on_aws_have_a_partition() {
        for (text, partition) in [
            ("https://oidc.eks.eu-west-1.amazonaws.com/id/ABC", Some("aws")),
            ("https://oidc-eks.eu-west-1.api.aws/id/ABC", Some("aws")),
            ("https://oidc.eks.us-gov-west-1.amazonaws.com/id/ABC", Some("aws-us-gov")),
            ("https://oidc.eks.cn-north-1.amazonaws.com.cn/id/ABC", Some("aws-cn")),
            ("https://oidc.eks.eusc-de-east-1.amazonaws.eu/id/ABC", Some("aws-eusc")),
            ("https://my-bucket.s3.us-east-1.amazonaws.com", Some("aws")),
            ("https://oidc.example.com/amazonaws.com", None),
            ("https://amazonaws.com.example.com", None),
        ] {
            assert_eq!(issuer(text).partition(), partition, "{text}");
        }
    }

    #[test]
    fn internal_hosts_and_ports_are_told() {
        for (text, internal, port) in [
            ("https://kubernetes.default.svc", true, false),
            ("https://kubernetes.default.svc.cluster.local", true, false),
            ("https://10.0.0.1:6443", true, true),
            ("https://127.1", true, false),
            ("https://kubernetes", true, false),
            ("https://KUBERNETES.DEFAULT.SVC.", true, false),
            ("https://[fd00::1]/a", true, false),
            ("https://[fd00::1]:6443/a", true, true),
            ("https://oidc.example.com:8443/a", false, true),
            ("https://local.example.com/a:b", false, false),
        ] {
            assert_eq!((issuer(text).is_internal(), issuer(text).has_port()), (internal, port), "{text}");
        }
    }
}
