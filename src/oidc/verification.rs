//! Compares what an issuer publishes with what the cluster signs with.

use super::issuer::{Issuer, is_internal};
use super::{Discovery, Jwks};
use crate::report::{Finding, Level};

/// A fetched document, or why it could not be fetched.
pub type Fetched = Result<String, String>;

const PUBLISH: &str = "write the documents with oidc generate, and publish them";
const LET_IN: &str =
    "make it public: the host's DNS name, a certificate of a public authority, and read access to the file";

/// Compares the issuer's name with that of the cluster's tokens, if that is known.
pub fn verify_issuer(issuer: &Issuer, tokens_name: Option<&str>) -> Vec<Finding> {
    const CHECK: &str = "issuer";
    let mut findings = Vec::new();
    match tokens_name {
        Some(name) if name != issuer.to_string() => findings.push(Finding::fail(
            CHECK,
            format!("the cluster's tokens name {name}, not {issuer}"),
            "make this issuer the first --service-account-issuer of kube-apiserver, exactly as it is written here",
        )),
        Some(_) => findings.push(Finding::pass(CHECK, format!("{issuer}, as the cluster's tokens name it"))),
        None => findings.push(Finding::pass(CHECK, format!("{issuer}, as given"))),
    }
    if issuer.is_internal() {
        let found = format!("{issuer} is a name or an address that AWS can't look up");
        findings.push(Finding::fail(CHECK, found, "give the cluster an issuer that is public"));
    }
    if issuer.has_port() {
        let found = format!("{issuer} has a port, which IAM does not accept");
        findings.push(Finding::warn(CHECK, found, "give the cluster an issuer without a port"));
    }
    findings
}

/// Checks the discovery document of an issuer with these keys. Also returns the published URL of the keys.
pub fn verify_discovery(issuer: &Issuer, keys: &Jwks, fetched: &Fetched) -> (Vec<Finding>, Option<String>) {
    const CHECK: &str = "discovery";
    let url = issuer.discovery_url();
    let fail = |found: String| (vec![Finding::fail(CHECK, found, PUBLISH)], None);
    let published = match fetched.as_ref().map(|text| Discovery::parse(text)) {
        Ok(Ok(published)) => published,
        Ok(Err(error)) => return fail(format!("{url}: not a discovery document: {error}")),
        Err(error) => return (vec![Finding::fail(CHECK, format!("{url}: {error}"), LET_IN)], None),
    };
    let mut findings = Vec::new();
    if published.name() != issuer.to_string() {
        let found = format!("{url}: it names the issuer {:?}, not {issuer}", published.name());
        findings.push(Finding::fail(CHECK, found, PUBLISH));
    }
    let uri = published.jwks_uri();
    if !uri.starts_with("https://") || is_internal(uri) {
        let found = format!("{url}: jwks_uri is {uri:?}, where AWS can't fetch the keys");
        let remedy = format!(
            "publish it with {}; kube-apiserver's --service-account-jwks-uri sets it",
            issuer.jwks_url()
        );
        findings.push(Finding::fail(CHECK, found, remedy));
    }
    let listed = |alg: &str| published.lists("id_token_signing_alg_values_supported", Some(alg));
    let lacking: Vec<&str> = keys.algorithms().into_iter().filter(|alg| !listed(alg)).collect();
    if !lacking.is_empty() {
        let found = format!("{url}: id_token_signing_alg_values_supported lacks {}", lacking.join(", "));
        findings.push(Finding::fail(CHECK, found, PUBLISH));
    }
    for field in ["response_types_supported", "subject_types_supported"] {
        if !published.lists(field, None) {
            findings.push(Finding::warn(CHECK, format!("{url}: {field} is missing"), PUBLISH));
        }
    }
    if findings.is_empty() {
        findings.push(Finding::pass(CHECK, url));
    }
    (findings, uri.starts_with("https://").then(|| uri.to_owned()))
}

/// Compares the published keys with those of the cluster.
pub fn verify_keys(cluster: &Jwks, uri: &str, fetched: &Fetched) -> Vec<Finding> {
    const CHECK: &str = "keys";
    let fail = |found: String| vec![Finding::fail(CHECK, found, PUBLISH)];
    let published = match fetched.as_ref().map(|text| Jwks::parse(text)) {
        Ok(Ok(published)) => published,
        Ok(Err(error)) => return fail(format!("{uri}: not a set of keys: {error}")),
        Err(error) => return vec![Finding::fail(CHECK, format!("{uri}: {error}"), LET_IN)],
    };
    let mut findings = Vec::new();
    for key in cluster.keys() {
        let found = match published.named(key.id()) {
            Some(other) if key.is_same_key(other) => continue,
            Some(_) => format!("{}: another key is published under this id", key.id()),
            None => format!("{} ({}): a key of the cluster that is not published", key.id(), key.algorithm()),
        };
        findings.push(Finding::fail(CHECK, found, PUBLISH));
    }
    for key in published.keys().iter().filter(|key| cluster.named(key.id()).is_none()) {
        let found = format!("{} ({}): published, but not a key of the cluster", key.id(), key.algorithm());
        let remedy = "remove it, unless the cluster is about to sign with it or tokens that it signed are still valid: its \
                      owner can act as any ServiceAccount";
        findings.push(Finding::warn(CHECK, found, remedy));
    }
    if findings.iter().all(|finding| finding.level < Level::Fail) {
        let count = cluster.keys().len();
        findings.push(Finding::pass(CHECK, format!("{uri}: {count} of {count} of the cluster's")));
    }
    findings
}
