//! The discovery document: who issues the tokens, and where the keys are.

use serde::{Deserialize, Serialize};

use crate::issuer::{InvalidIssuer, Issuer};

/// A discovery document, with the fields that kube-apiserver gives it, in its order (`openIDMetadata`,
/// `pkg/serviceaccount/openidmetadata.go`).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(default)]
#[derive(Default)]
pub struct Discovery {
    /// The issuer, as tokens have it in `iss`.
    pub issuer: String,
    /// Where the keys are.
    pub jwks_uri: String,
    /// What comes of a request for a token: `id_token`.
    pub response_types_supported: Vec<String>,
    /// Whether each client is told another subject; `public`: they are not.
    pub subject_types_supported: Vec<String>,
    /// The algorithms of the keys.
    pub id_token_signing_alg_values_supported: Vec<String>,
}

impl Discovery {
    /// The issuer.
    pub fn issuer(&self) -> Result<Issuer, InvalidIssuer> {
        self.issuer.parse()
    }
}
