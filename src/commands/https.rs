//! Fetches public documents by HTTPS.

use std::{path::Path, time::Duration};

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Limited};
use hyper::{Request, StatusCode, Uri, header::LOCATION, http::uri::PathAndQuery};
use kube::client::Body;
use tokio::time::timeout;

use crate::{
    kube::{client::Target, proxy::Proxy, root_cause::root_cause},
    oidc::Fetched,
    tls::read_certificates,
};

/// The limits of a response: a hundred keys take 50 KB.
const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BYTES: usize = 1 << 20;

/// The error for an invalid --ca-file.
pub(super) const CA: &str = "--ca-file: want certificates in PEM:";

/// Fetches without credentials, with kube's client.
pub(super) struct Https {
    /// The trusted authorities, in DER; `None` for the system's.
    authorities: Option<Vec<Vec<u8>>>,
}

impl Https {
    /// Trusts these authorities, or the system's. An image that holds only the program has none.
    pub(super) fn new(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let certificates = ca_file.map(|path| read_certificates(path, CA)).transpose()?;
        let authorities = certificates.map(|all| all.iter().map(|one| one.to_vec()).collect());
        let https = Self { authorities };
        let any = https.config(Uri::from_static("https://localhost/"));
        Target::from(any).client().context("no authorities: give --ca-file")?;
        Ok(https)
    }

    /// The body at a URL, if the status is 200 and the body is text; otherwise the reason in words.
    pub(super) async fn get(&self, url: &str) -> Fetched {
        let text = timeout(TIMEOUT, self.try_get(url)).await;
        text.map_err(|_| anyhow!("no answer within {TIMEOUT:?}"))
            .flatten()
            .map_err(|error| root_cause(error.as_ref()))
    }

    async fn try_get(&self, url: &str) -> anyhow::Result<String> {
        let uri: Uri = url.parse()?;
        let mut origin = uri.clone().into_parts();
        origin.path_and_query = Some("/".parse()?);
        let client = self.client(Uri::from_parts(origin)?)?;
        let request =
            Request::get(uri.path_and_query().map_or("/", PathAndQuery::as_str)).body(Body::empty())?;
        let response = client.send(request).await?;
        if response.status() != StatusCode::OK {
            let target = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            let target = target.map(|target| format!(" to {target}")).unwrap_or_default();
            bail!("status {}{target} instead of 200", response.status().as_u16());
        }
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        let body = body.map_err(|error| anyhow!("{error}"))?;
        String::from_utf8(body.to_bytes().into()).map_err(|_| anyhow!("not UTF-8"))
    }

    fn client(&self, origin: Uri) -> anyhow::Result<kube::Client> {
        let proxy = Proxy::from_environment(&origin)?;
        Ok(Target { config: self.config(origin), proxy }.client()?)
    }

    fn config(&self, origin: Uri) -> kube::Config {
        let mut config = kube::Config::new(origin);
        config.root_cert = self.authorities.clone();
        config.default_retry = false;
        config
    }
}
