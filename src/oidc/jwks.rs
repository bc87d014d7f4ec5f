//! JSON Web Keys (RFC 7517, 7518), as kube-apiserver serves them.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use x509_parser::{
    oid_registry::{OID_EC_P256, OID_NIST_EC_P384, OID_NIST_EC_P521},
    prelude::FromDer,
    public_key::PublicKey,
    x509::SubjectPublicKeyInfo,
};

use super::{BadKey, NotJson};

/// A set of keys, in the order of the files that they come from.
#[derive(Clone, Debug)]
pub struct Jwks(Vec<Jwk>);

/// A public key, as the published object, which may have further fields.
#[derive(Clone, Debug)]
pub struct Jwk(Value);

impl Jwks {
    /// Reads a set.
    pub fn parse(text: &str) -> Result<Self, NotJson> {
        let mut set: Value = serde_json::from_str(text)?;
        match set.get_mut("keys").map(Value::take) {
            Some(Value::Array(keys)) => Ok(Self(keys.into_iter().map(Jwk).collect())),
            _ => Err(NotJson::Other("want an object with a list of keys")),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &[Jwk] {
        &self.0
    }

    /// The algorithms of the keys, sorted, each once.
    pub fn algorithms(&self) -> Vec<&str> {
        let mut algorithms: Vec<_> = self.0.iter().map(Jwk::algorithm).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        algorithms
    }

    /// The key of this name.
    pub(super) fn named(&self, id: &str) -> Option<&Jwk> {
        self.0.iter().find(|key| key.id() == id)
    }
}

impl From<Vec<Jwk>> for Jwks {
    fn from(keys: Vec<Jwk>) -> Self {
        Self(keys)
    }
}

impl fmt::Display for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys: Vec<_> = self.0.iter().map(|key| &key.0).collect();
        json!({"keys": keys}).fmt(f)
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
        let id = URL_SAFE_NO_PAD.encode_to_string(digest(&SHA256, der));
        let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode_to_string(bytes);
        // The fields in the order in which go-jose writes them, which kube-apiserver does by.
        match spki.parsed().map_err(|_| malformed())? {
            PublicKey::RSA(rsa) => {
                let [n, e] = [rsa.modulus, rsa.exponent].map(|number| base64(without_zeros(number)));
                Ok(Self(json!({"use": "sig", "kty": "RSA", "kid": id, "alg": "RS256", "n": n, "e": e})))
            }
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
                let [x, y] = [x, y].map(base64);
                Ok(Self(
                    json!({"use": "sig", "kty": "EC", "kid": id, "crv": crv, "alg": alg, "x": x, "y": y}),
                ))
            }
            _ => Err(BadKey::Kind),
        }
    }

    /// Its id in tokens (`kid`).
    pub fn id(&self) -> &str {
        self.0["kid"].as_str().unwrap_or_default()
    }

    /// The algorithm that it signs with.
    pub fn algorithm(&self) -> &str {
        self.0["alg"].as_str().unwrap_or_default()
    }

    /// Whether it is the same key. Other fields do not matter.
    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        ["kty", "crv", "x", "y", "n", "e"].iter().all(|field| self.0.get(field) == other.0.get(field))
    }
}

/// A number without the zeros before it, of which DER has one where it would else be negative.
fn without_zeros(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    &bytes[zeros..]
}
