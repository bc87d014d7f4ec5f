//! The discovery document: who issues the tokens, and where the keys are.

use std::fmt;

use serde_json::{Value, json};

use super::issuer::{InvalidIssuer, Issuer};
use super::{Jwks, NotJson};

/// A discovery document, as the published object, which may have further fields.
#[derive(Clone, Debug)]
pub struct Discovery(Value);

impl Discovery {
    /// What the issuer of these keys says of itself, with the keys beside it: the fields that kube-apiserver gives, in its
    /// order (`openIDMetadata`, `pkg/serviceaccount/openidmetadata.go`).
    pub fn of(issuer: &Issuer, keys: &Jwks) -> Self {
        Self(json!({
            "issuer": issuer.to_string(),
            "jwks_uri": issuer.jwks_url(),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": keys.algorithms(),
        }))
    }

    /// Reads a document.
    pub fn parse(text: &str) -> Result<Self, NotJson> {
        let document: Value = serde_json::from_str(text)?;
        if document.is_object() { Ok(Self(document)) } else { Err(NotJson::Other("want an object")) }
    }

    /// The issuer.
    pub fn issuer(&self) -> Result<Issuer, InvalidIssuer> {
        self.name().parse()
    }

    /// The issuer, as it is written.
    pub fn name(&self) -> &str {
        self.0["issuer"].as_str().unwrap_or_default()
    }

    /// Where the keys are.
    pub(super) fn jwks_uri(&self) -> &str {
        self.0["jwks_uri"].as_str().unwrap_or_default()
    }

    /// Whether a list holds a word, or anything.
    pub(super) fn lists(&self, field: &str, word: Option<&str>) -> bool {
        let list = self.0[field].as_array();
        list.is_some_and(|list| list.iter().any(|item| word.is_none_or(|word| item == word)))
    }
}

impl fmt::Display for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
