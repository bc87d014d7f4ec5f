//! An X.509 certificate, and whether clients trust it.

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pem::Pem;
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject};
use x509_parser::prelude::X509Certificate;

/// A new certificate's notBefore lies this long before it was signed, for verifiers whose clocks are behind.
pub const BACKDATING: Duration = Duration::from_secs(60 * 60);

/// A certificate with the fields that the plan needs. Two are equal if their bytes are.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    /// When it was signed: notBefore plus [`BACKDATING`].
    signed: SystemTime,
    expires: SystemTime,
    is_authority: bool,
}

impl Certificate {
    /// Parses a certificate; the error says what is wrong with it.
    pub fn parse(der: CertificateDer<'static>) -> Result<Self, String> {
        let parsed = x509(&der)?;
        let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(seconds.max(0).unsigned_abs());
        let (not_before, not_after) = (parsed.validity.not_before, parsed.validity.not_after);
        let (signed, expires) = (at(not_before.timestamp()) + BACKDATING, at(not_after.timestamp()));
        let is_authority = parsed.is_ca();
        Ok(Self { der, signed, expires, is_authority })
    }

    /// Parses all certificates of a PEM text, which may hold none.
    pub fn parse_pem(text: &[u8]) -> Result<Vec<Self>, String> {
        CertificateDer::pem_slice_iter(text)
            .map(|der| Self::parse(der.map_err(|error| error.to_string())?))
            .collect()
    }

    /// The DER encoding.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// The PEM encoding.
    pub fn pem(&self) -> String {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        pem::encode_config(&Pem::new("CERTIFICATE", self.der.to_vec()), config)
    }

    /// When it expires.
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// Whether it may sign other certificates.
    pub fn is_authority(&self) -> bool {
        self.is_authority
    }

    /// Whether it has expired.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        now >= self.expires
    }

    /// When this share of its lifetime has passed.
    pub fn at_share_of_life(&self, share: f64) -> SystemTime {
        let life = self.expires.duration_since(self.signed).unwrap_or_default();
        self.signed + life.mul_f64(share)
    }

    /// The public key, as encoded in the certificate.
    pub fn public_key(&self) -> Vec<u8> {
        x509(&self.der).map_or_else(|_| Vec::new(), |parsed| parsed.public_key().raw.to_vec())
    }

    /// Whether this authority signed it.
    pub fn is_signed_by(&self, authority: &Self) -> bool {
        // Checked for a moment at which both are valid: expiry is a separate question.
        self.is_trusted_by([&authority.der], &[], self.expires - Duration::from_secs(1))
    }

    /// Whether a TLS client that trusts these authorities accepts it for each of these server names.
    pub fn is_trusted_by<'a>(
        &self,
        authorities: impl IntoIterator<Item = &'a CertificateDer<'static>>,
        names: &[ServerName<'_>],
        now: SystemTime,
    ) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.into_iter().cloned());
        let Ok(parsed) = ParsedCertificate::try_from(&self.der) else { return false };
        let now = UnixTime::since_unix_epoch(now.duration_since(UNIX_EPOCH).unwrap_or_default());
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, ALGORITHMS.all).is_ok()
            && names.iter().all(|name| verify_server_name(&parsed, name).is_ok())
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

fn x509<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, String> {
    x509_parser::parse_x509_certificate(der).map(|(_, parsed)| parsed).map_err(|error| error.to_string())
}

static ALGORITHMS: LazyLock<WebPkiSupportedAlgorithms> =
    LazyLock::new(|| aws_lc_rs::default_provider().signature_verification_algorithms);
