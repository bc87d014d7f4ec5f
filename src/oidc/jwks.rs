//! JSON Web Keys (RFC 7517, 7518), as kube-apiserver serves them.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use base64_simd::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521},
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::BadKey;

/// A set of keys.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Jwks {
    /// The keys, in the order of the files that they come from.
    pub keys: Vec<Jwk>,
}

/// A public key. The fields are in the order in which go-jose writes them, which kube-apiserver does by.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct Jwk {
    #[serde(rename = "use", skip_serializing_if = "String::is_empty")]
    usage: String,
    kty: String,
    /// What tokens call it.
    pub kid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    crv: String,
    /// The algorithm that it signs with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alg: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    x: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    y: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    n: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    e: String,
}

impl Jwks {
    /// The algorithms of the keys, sorted, each once.
    pub fn algorithms(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.alg.clone()).collect::<BTreeSet<_>>().into_iter().collect()
    }
}

impl Jwk {
    /// The key of a `SubjectPublicKeyInfo` in DER. Its id is that of Kubernetes: the SHA-256 of that DER
    /// (`keyIDFromPublicKey`, `pkg/serviceaccount/jwt.go`).
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, BadKey> {
        let malformed = || BadKey::Malformed("SubjectPublicKeyInfo in DER");
        let (rest, spki) = SubjectPublicKeyInfo::from_der(der).map_err(|_| malformed())?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let key = Self {
            usage: "sig".to_owned(),
            kid: URL_SAFE_NO_PAD.encode_to_string(digest(&SHA256, der)),
            ..Self::default()
        };
        match spki.parsed().map_err(|_| malformed())? {
            PublicKey::RSA(rsa) => Ok(Self {
                kty: "RSA".to_owned(),
                alg: "RS256".to_owned(),
                n: number(rsa.modulus),
                e: number(rsa.exponent),
                ..key
            }),
            PublicKey::EC(point) => {
                let curve = spki.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
                let (crv, alg, size) = match curve {
                    Some(oid) if oid == OID_EC_P256 => ("P-256", "ES256", 32),
                    Some(oid) if oid == OID_NIST_EC_P384 => ("P-384", "ES384", 48),
                    Some(oid) if oid == OID_NIST_EC_P521 => ("P-521", "ES512", 66),
                    _ => return Err(BadKey::Kind),
                };
                // Two coordinates, uncompressed (SEC 1, section 2.3.3).
                let coordinates = point.data().strip_prefix(&[4]).filter(|rest| rest.len() == 2 * size);
                let (x, y) = coordinates.ok_or_else(malformed)?.split_at(size);
                let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode_to_string(coordinate));
                Ok(Self { kty: "EC".to_owned(), crv: crv.to_owned(), alg: alg.to_owned(), x, y, ..key })
            }
            _ => Err(BadKey::Kind),
        }
    }

    /// Whether it is the same key, whatever is said of its use.
    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        let numbers = |key: &Self| [&key.kty, &key.crv, &key.x, &key.y, &key.n, &key.e].map(Clone::clone);
        numbers(self) == numbers(other)
    }
}

/// A number without the zeros before it, of which DER has one where it would else be negative.
fn number(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    URL_SAFE_NO_PAD.encode_to_string(&bytes[zeros..])
}
