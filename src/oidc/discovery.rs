//! The discovery document: who issues the tokens, and where the keys are.

use serde::{Deserialize, Serialize};

use super::Jwks;
use crate::issuer::{InvalidIssuer, Issuer};

/// A discovery document, with the fields that kube-apiserver gives it, in its order (`openIDMetadata`,
/// `pkg/serviceaccount/openidmetadata.go`).
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
pub struct Discovery {
    /// The issuer, as tokens have it in `iss`.
    pub issuer: String,
    /// Where the keys are.
    pub jwks_uri: String,
    /// What comes of a request for a token.
    pub response_types_supported: Vec<String>,
    /// Whether each client is told another subject.
    pub subject_types_supported: Vec<String>,
    /// The algorithms of the keys.
    pub id_token_signing_alg_values_supported: Vec<String>,
}

impl Discovery {
    /// What the issuer of these keys says of itself, with the keys beside it.
    pub fn of(issuer: &Issuer, keys: &Jwks) -> Self {
        Self {
            issuer: issuer.to_string(),
            jwks_uri: issuer.jwks_url(),
            response_types_supported: vec!["id_token".to_owned()],
            subject_types_supported: vec!["public".to_owned()],
            id_token_signing_alg_values_supported: keys.algorithms(),
        }
    }

    /// The issuer.
    pub fn issuer(&self) -> Result<Issuer, InvalidIssuer> {
        self.issuer.parse()
    }
}
