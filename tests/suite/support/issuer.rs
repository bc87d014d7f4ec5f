//! A token issuer on loopback that agrees with its cluster.

use std::fs;

use super::{api_server::ApiServer, path, pki::Ca};

pub(crate) const DISCOVERY: &str = "/.well-known/openid-configuration";
pub(crate) const JWKS: &str = "/openid/v1/jwks";

/// The issuer of a cluster: a server that publishes what the cluster serves, until a test changes one of them.
pub(crate) struct Issuer {
    pub(crate) server: ApiServer,
    pub(crate) url: String,
}

impl Issuer {
    pub(crate) async fn start(cluster: &ApiServer, ca: &Ca) -> Self {
        let server = ApiServer::start_tls(&ca.server(1)).await;
        let issuer = Self { url: format!("https://localhost:{}", server.address.port()), server };
        issuer.publish(cluster);
        issuer
    }

    /// Makes cluster and issuer agree.
    pub(crate) fn publish(&self, cluster: &ApiServer) {
        for server in [cluster, &self.server] {
            server.answer(DISCOVERY, 200, &self.discovery());
            server.answer(JWKS, 200, &served("jwks"));
        }
    }

    /// Its discovery document.
    pub(crate) fn discovery(&self) -> String {
        served("openid-configuration").replace("https://issuer.test", &self.url)
    }
}

/// What a kube-apiserver served for `https://issuer.test`: see the folder's README.
pub(crate) fn served(name: &str) -> String {
    fs::read_to_string(path("fixtures/oidc").join(name)).unwrap()
}
