//! Which proxy a server is reached through, by the environment's rules.

use std::fmt;

use hyper::{Uri, http::uri::Scheme};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use thiserror::Error;

/// A value that names no proxy that can be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{name}: want the URL of a proxy, such as http://proxy.example:3128, https://… or socks5://…")]
pub struct InvalidProxy {
    /// The variable or field that has the value, which may hold a password and is not shown.
    name: &'static str,
}

/// A proxy, with its credentials.
#[derive(Clone)]
pub struct Proxy(Intercept);

/// How to talk to a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `CONNECT` of HTTP/1.1, over TLS if `is_tls`.
    Http {
        is_tls: bool,
    },
    Socks5,
}

impl Proxy {
    /// Parses the URL of a proxy; without a scheme, it is an HTTP proxy. `name` says where the URL comes from.
    pub fn parse(name: &'static str, url: &str) -> Result<Self, InvalidProxy> {
        let url = url.trim();
        let url = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let intercept =
            Matcher::builder().all(url).build().intercept(&Uri::from_static("https://example.com"));
        let proxy = intercept.map(Self).ok_or(InvalidProxy { name })?;
        if proxy.protocol().is_none() {
            return Err(InvalidProxy { name });
        }
        Ok(proxy)
    }

    /// The proxy for a server, by `HTTPS_PROXY` (of a server without TLS, `HTTP_PROXY`), `NO_PROXY` and their lower-case
    /// forms.
    pub fn from_environment(server: &Uri) -> Result<Option<Self>, InvalidProxy> {
        let names = match server.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => ["HTTP_PROXY", "http_proxy"],
            _ => ["HTTPS_PROXY", "https_proxy"],
        };
        let Some((name, url)) = first_of(names) else { return Ok(None) };
        let excluded = first_of(["NO_PROXY", "no_proxy"]).map_or_else(String::new, |(_, list)| list);
        if is_excluded(server, &excluded) { Ok(None) } else { Self::parse(name, &url).map(Some) }
    }

    /// Where the proxy listens. Its credentials are not part of it.
    pub(super) fn uri(&self) -> &Uri {
        self.0.uri()
    }

    pub(super) fn protocol(&self) -> Option<Protocol> {
        match self.uri().scheme_str() {
            Some("http") => Some(Protocol::Http { is_tls: false }),
            Some("https") => Some(Protocol::Http { is_tls: true }),
            Some("socks5" | "socks5h") => Some(Protocol::Socks5),
            _ => None,
        }
    }

    pub(super) fn intercept(&self) -> &Intercept {
        &self.0
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri().to_string().trim_end_matches('/'))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

/// The first of these variables that is set and not empty.
fn first_of(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    let value = |name| Some((name, std::env::var(name).ok().filter(|value| !value.is_empty())?));
    names.into_iter().find_map(value)
}

/// Whether `NO_PROXY` lists a server: by name, domain, address, range of addresses, or `*`; each also with a port.
fn is_excluded(server: &Uri, list: &str) -> bool {
    let port = port_of(server).to_string();
    let entries = list.split([',', ' ']).map(str::trim).filter_map(|entry| {
        let entry = entry.strip_prefix("*.").unwrap_or(entry);
        match entry.rsplit_once(':') {
            // More than one colon is an IPv6 address, unless it is in brackets.
            Some((host, of_port)) if !host.contains(':') || host.ends_with(']') => {
                (of_port == port).then(|| host.trim_matches(['[', ']']))
            }
            _ => Some(entry.trim_matches(['[', ']'])),
        }
    });
    let list: Vec<_> = entries.filter(|entry| !entry.is_empty()).collect();
    // The matcher takes `*` for names only.
    if list.contains(&"*") {
        return true;
    }
    let list = list.join(",");
    Matcher::builder().all("http://proxy").no(list).build().intercept(server).is_none()
}

/// The port of a server, by its scheme if its URL names none.
pub(super) fn port_of(server: &Uri) -> u16 {
    let default = if server.scheme() == Some(&Scheme::HTTP) { 80 } else { 443 };
    server.port_u16().unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_in_no_proxy_are_reached_directly() {
        let server = |text: &str| text.parse::<Uri>().unwrap();
        for (list, url, expected) in [
            ("", "https://api.example:6443", false),
            ("*", "https://api.example:6443", true),
            ("*", "https://10.1.2.3:6443", true),
            ("other, *", "https://[fd00::1]:6443", true),
            ("api.example", "https://api.example:6443", true),
            ("example", "https://api.example:6443", true),
            (".example", "https://api.example:6443", true),
            ("*.example", "https://api.example:6443", true),
            ("other, api.example,", "https://api.example", true),
            ("other api.example", "https://api.example", true),
            ("pi.example", "https://api.example", false),
            ("api.example:6443", "https://api.example:6443", true),
            ("api.example:443", "https://api.example:6443", false),
            ("api.example:443", "https://api.example", true),
            ("10.0.0.0/8,", "https://10.1.2.3:6443", true),
            ("10.1.2.3", "https://10.1.2.3:6443", true),
            ("10.1.2.3:6443", "https://10.1.2.3:6443", true),
            ("10.1.2.4", "https://10.1.2.3:6443", false),
            ("fd00::/8", "https://[fd00::1]:6443", true),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", true),
            ("fd00::1", "https://[fd00::1]:6443", true),
            ("not a host!%,api.example", "https://api.example", true),
        ] {
            assert_eq!(is_excluded(&server(url), list), expected, "{list:?} for {url}");
        }
    }

    #[test]
    fn proxies_are_urls_whose_passwords_are_not_shown() {
        for (url, shown, protocol) in [
            ("http://proxy:3128", "http://proxy:3128", Protocol::Http { is_tls: false }),
            ("proxy:3128", "http://proxy:3128", Protocol::Http { is_tls: false }),
            ("https://u:p%40ss@proxy:3128/", "https://proxy:3128", Protocol::Http { is_tls: true }),
            ("socks5://u:secret@proxy:1080", "socks5://proxy:1080", Protocol::Socks5),
            ("socks5h://proxy", "socks5h://proxy", Protocol::Socks5),
        ] {
            let proxy = Proxy::parse("HTTPS_PROXY", url).unwrap();
            assert_eq!((proxy.to_string(), proxy.protocol()), (shown.to_owned(), Some(protocol)));
            assert!(!format!("{proxy:?}").contains("ss"), "{proxy:?}", proxy = proxy.to_string());
        }
        for bad in ["", "socks4://proxy", "ftp://proxy", "http://", "a b"] {
            let error = Proxy::parse("HTTPS_PROXY", bad).unwrap_err().to_string();
            assert!(error.starts_with("HTTPS_PROXY: want the URL of a proxy"), "{error}");
        }
    }
}
