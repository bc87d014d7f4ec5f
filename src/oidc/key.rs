//! Keys in PEM, as kube-apiserver's `--service-account-key-file` takes them.

use memchr::memmem;
use pem::Pem;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls_pki_types::PrivateKeyDer;
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use super::Jwk;

/// Why a PEM block or a file has no public key.
#[derive(Debug, Error)]
pub enum BadKey {
    /// Not PEM.
    #[error("not PEM: {0}")]
    Pem(#[from] pem::PemError),
    /// A block without an end.
    #[error("a block of PEM that is cut off")]
    CutOff,
    /// No block at all.
    #[error("no key in PEM")]
    Empty,
    /// Something that holds no key, or a form that kube-apiserver skips without a word.
    #[error("a block {0:?}, which kube-apiserver reads no key from: want PUBLIC KEY, CERTIFICATE or a private key{hint}",
        hint = if .0 == "RSA PUBLIC KEY" { " (openssl rsa -RSAPublicKey_in -pubout converts it)" } else { "" })]
    Tag(String),
    /// Damaged.
    #[error("damaged, or in another form than its name says: want {0}")]
    Malformed(&'static str),
    /// Such as Ed25519.
    #[error("a kind of key that Kubernetes does not sign with: want RSA, or ECDSA of P-256, P-384 or P-521")]
    Kind,
}

/// The public keys of a PEM file, several if it has several: public keys, certificates, and, since kube-apiserver takes
/// them there (`ParsePublicKeysPEM`, `client-go/util/keyutil/key.go`), the public part of private keys.
///
/// What it would skip is an error: it is not what the file was meant for. Only ECDSA in PKCS#8, which it takes for
/// signing and skips here, is taken all the same.
pub fn read_keys(pem: &[u8]) -> Result<Vec<Jwk>, BadKey> {
    let blocks = pem::parse_many(pem)?;
    // The parser leaves out, without a word, what does not end.
    if blocks.len() != memmem::find_iter(pem, b"-----BEGIN ").count() {
        return Err(BadKey::CutOff);
    }
    // openssl writes the curve before an EC key, and the key names it again.
    let blocks = blocks.iter().filter(|block| block.tag() != "EC PARAMETERS");
    let keys = blocks.map(key).collect::<Result<Vec<_>, _>>()?;
    if keys.is_empty() { Err(BadKey::Empty) } else { Ok(keys) }
}

fn key(block: &Pem) -> Result<Jwk, BadKey> {
    let der = block.contents();
    match block.tag() {
        "PUBLIC KEY" => Jwk::from_spki(der),
        "CERTIFICATE" => {
            let certificate = X509Certificate::from_der(der);
            let (_, certificate) = certificate.map_err(|_| BadKey::Malformed("an X.509 certificate"))?;
            Jwk::from_spki(certificate.public_key().raw)
        }
        "RSA PRIVATE KEY" => public_part(&PrivateKeyDer::Pkcs1(der.into())),
        "EC PRIVATE KEY" => public_part(&PrivateKeyDer::Sec1(der.into())),
        "PRIVATE KEY" => public_part(&PrivateKeyDer::Pkcs8(der.into())),
        other => Err(BadKey::Tag(other.to_owned())),
    }
}

fn public_part(key: &PrivateKeyDer<'_>) -> Result<Jwk, BadKey> {
    let malformed = || BadKey::Malformed("an unencrypted private key of RSA (2048 to 8192 bits) or ECDSA");
    let key = any_supported_type(key).map_err(|_| malformed())?;
    Jwk::from_spki(&key.public_key().ok_or_else(malformed)?)
}
