//! What an OIDC issuer publishes of a cluster, as kube-apiserver writes it.

mod discovery;

pub use self::discovery::Discovery;
