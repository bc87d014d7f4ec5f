//! Makes certificates: our own authority, and the leaves that it signs. All are ECDSA P-256, which takes a quarter of
//! RSA's time in a handshake.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData,
};
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use super::{
    certificate::{BACKDATING, Certificate},
    policy::Policy,
};

/// Why a certificate can't be made.
#[derive(Debug, Error)]
pub enum CannotSign {
    /// The library returned an error.
    #[error("can't make a certificate: {0}")]
    Rcgen(#[from] rcgen::Error),
    /// The certificate can't be parsed, or clients would not trust it.
    #[error("the new certificate can't be used: {0}")]
    Unusable(String),
}

/// A private key in PEM. `Debug` does not print it.
#[derive(Clone, PartialEq, Eq)]
pub struct PrivateKey(String);

impl PrivateKey {
    /// Parses the key of this certificate; `None` if it is malformed or belongs to another certificate.
    pub fn of(certificate: &Certificate, pem: &str) -> Option<Self> {
        let pair = KeyPair::from_pem(pem).ok()?;
        (pair.subject_public_key_info() == certificate.public_key()).then(|| Self(pem.to_owned()))
    }

    /// The PEM text.
    pub fn pem(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey")
    }
}

/// A certificate to serve, with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: PrivateKey,
}

/// Makes a new authority.
pub fn make_authority(policy: &Policy, now: SystemTime) -> Result<(Certificate, PrivateKey), CannotSign> {
    let key = KeyPair::generate()?;
    // Names differ, so that verifiers never try one authority's key on another's leaf.
    let name = format!("eks-pod-identity-webhook CA {:08x}", fastrand::u32(..));
    let mut params = params(&name, now, now + policy.authority_validity);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = parse(params.self_signed(&key)?.der())?;
    Ok((certificate, PrivateKey(key.serialize_pem())))
}

/// Signs a new leaf. It expires with its authority at the latest.
pub fn sign_leaf(
    authority: &Certificate,
    key: &PrivateKey,
    policy: &Policy,
    now: SystemTime,
) -> Result<Leaf, CannotSign> {
    let issuer = Issuer::from_ca_cert_der(authority.der(), KeyPair::from_pem(key.pem())?)?;
    let leaf_key = KeyPair::generate()?;
    let name = policy.names.iter().find(|name| name.len() <= MAX_COMMON_NAME);
    let name = name.map_or("eks-pod-identity-webhook", |name| name);
    let mut params = params(name, now, (now + policy.leaf_validity).min(authority.expires()));
    params.subject_alt_names = CertificateParams::new(policy.names.clone())?.subject_alt_names;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = parse(params.signed_by(&leaf_key, &issuer)?.der())?;
    if !certificate.is_trusted_by([authority.der()], &policy.server_names(), now) {
        return Err(CannotSign::Unusable("its own authority does not verify it".to_owned()));
    }
    Ok(Leaf { certificate, key: PrivateKey(leaf_key.serialize_pem()) })
}

/// The maximum length of a common name (RFC 5280, ub-common-name). Clients read only the alternative names.
const MAX_COMMON_NAME: usize = 64;

fn params(name: &str, now: SystemTime, expires: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let at = |time: SystemTime| epoch + Duration::from_secs(since_epoch(time).as_secs());
    params.not_before = at(now - BACKDATING);
    params.not_after = at(expires);
    params
}

fn parse(der: &CertificateDer<'static>) -> Result<Certificate, CannotSign> {
    Certificate::parse(der.clone()).map_err(CannotSign::Unusable)
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}
