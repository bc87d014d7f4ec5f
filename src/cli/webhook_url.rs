//! The URL of a webhook, as `clientConfig.url` of a MutatingWebhookConfiguration holds it.

use std::{fmt, str::FromStr};

use hyper::Uri;
use rustls_pki_types::ServerName;
use thiserror::Error;

/// The URL of a webhook. Without a path it is `/mutate`; without a query it carries a timeout, as kube-apiserver's do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl {
    uri: Uri,
    server_name: ServerName<'static>,
}

/// Why a URL is refused. The caller adds the name of the flag.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "a webhook's URL is https://host, with :port, /path and ?query where needed, without user and #fragment"
)]
pub struct InvalidUrl;

impl WebhookUrl {
    /// Where to connect: host and port.
    pub fn address(&self) -> (&str, u16) {
        (bare(self.uri.host().unwrap_or_default()), self.uri.port_u16().unwrap_or(443))
    }

    /// The name that the certificate has to carry.
    pub fn server_name(&self) -> ServerName<'static> {
        self.server_name.clone()
    }

    /// Host and, where it was given, port: the `Host` header.
    pub fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// The whole URL.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Path and query: what is requested.
    pub fn target(&self) -> &str {
        self.uri.path_and_query().map_or("/", |target| target.as_str())
    }
}

impl FromStr for WebhookUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rest = text.strip_prefix("https://").filter(|rest| !rest.contains('#')).ok_or(InvalidUrl)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, "timeout=10s"));
        let path = if place.contains('/') { "" } else { "/mutate" };
        let uri: Uri = format!("https://{place}{path}?{query}").parse().map_err(|_| InvalidUrl)?;
        let host = uri.host().unwrap_or_default();
        // A port that is not a number would otherwise be ignored.
        let is_plain = uri.port_u16().is_some() || uri.authority().is_some_and(|all| all.as_str() == host);
        let has_user = uri.authority().is_some_and(|all| all.as_str().contains('@'));
        let server_name = ServerName::try_from(bare(host).to_owned()).map_err(|_| InvalidUrl)?;
        if is_plain && !has_user { Ok(Self { uri, server_name }) } else { Err(InvalidUrl) }
    }
}

impl fmt::Display for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

/// A host without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_parts_are_filled_in() {
        for (text, address, authority, target) in [
            ("https://webhook", ("webhook", 443), "webhook", "/mutate?timeout=10s"),
            ("https://localhost:8443", ("localhost", 8443), "localhost:8443", "/mutate?timeout=10s"),
            ("https://[::1]:8443/", ("::1", 8443), "[::1]:8443", "/?timeout=10s"),
            ("https://10.0.0.1/a/b", ("10.0.0.1", 443), "10.0.0.1", "/a/b?timeout=10s"),
            ("https://h?x=1", ("h", 443), "h", "/mutate?x=1"),
            ("https://h/m?timeout=3s", ("h", 443), "h", "/m?timeout=3s"),
        ] {
            let url: WebhookUrl = text.parse().unwrap();
            assert_eq!(
                (url.address(), url.authority(), url.target()),
                (address, authority, target),
                "{text}"
            );
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for text in [
            "",
            "webhook:8443",
            "http://webhook",
            "https://",
            "https:///mutate",
            "https://webhook:https",
            "https://webhook:",
            "https://webhook:99999",
            "https://user@webhook",
            "https://user@webhook:443",
            "https://webhook/mutate#fragment",
            "https://two words/",
            "https://bad_*_name/",
        ] {
            assert_eq!(text.parse::<WebhookUrl>(), Err(InvalidUrl), "{text}");
        }
    }
}
