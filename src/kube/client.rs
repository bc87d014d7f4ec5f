//! Clients of the API server, which reach it directly or through a proxy.

use hyper::{
    Response, Uri,
    body::Incoming,
    http::{HeaderValue, uri::PathAndQuery},
    rt::{Read, Write},
};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{
            Connection, HttpConnector,
            proxy::{SocksV5, Tunnel},
        },
    },
    rt::TokioExecutor,
};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder, ConfigExt, DynBody},
};
use thiserror::Error;
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxService};

use super::{
    proxy::{Protocol, Proxy, port_of},
    root_cause::root_cause,
};

/// The service that sends the requests of a client.
pub type HttpService = BoxService<hyper::Request<Body>, Response<Box<DynBody>>, BoxError>;

/// A cluster, or another server, and how to reach it.
#[derive(Clone, Debug)]
pub struct Target {
    /// The server, whose own `proxy_url` is not used.
    pub config: Config,
    /// The proxy in front of it.
    pub proxy: Option<Proxy>,
}

/// A server that is reached directly.
impl From<Config> for Target {
    fn from(config: Config) -> Self {
        Self { config, proxy: None }
    }
}

/// A failure on the way through a proxy.
#[derive(Debug, Error)]
#[error("through the proxy {proxy}: {cause}")]
struct ThroughProxy {
    proxy: Proxy,
    cause: String,
}

impl Target {
    /// A client for it.
    pub fn client(self) -> kube::Result<Client> {
        Ok(self.builder()?.build())
    }

    /// A client to which layers can be added.
    pub fn builder(self) -> kube::Result<ClientBuilder<HttpService>> {
        let Self { mut config, proxy } = self;
        config.proxy_url = None;
        let Some(proxy) = proxy else { return ClientBuilder::try_from(config) };
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        let (uri, intercept) = (proxy.uri().clone(), proxy.intercept().clone());
        match proxy.protocol() {
            Some(Protocol::Socks5) => {
                let mut socks = SocksV5::new(uri, connector);
                if let Some((user, password)) = intercept.raw_auth() {
                    socks = socks.with_auth(user.to_owned(), password.to_owned());
                }
                let socks = socks.map_request(with_port);
                through(socks, &proxy, &config)
            }
            Some(Protocol::Http { is_tls: true }) => {
                // The proxy's certificate is checked against the system's authorities, not the cluster's.
                let tls = Config::new(uri.clone()).rustls_https_connector_with_connector(connector)?;
                through(tunnel(uri, tls, intercept.basic_auth()), &proxy, &config)
            }
            Some(Protocol::Http { is_tls: false }) | None => {
                through(tunnel(uri, connector, intercept.basic_auth()), &proxy, &config)
            }
        }
    }
}

fn tunnel<C>(proxy: Uri, connector: C, auth: Option<&HeaderValue>) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy, connector);
    match auth {
        Some(auth) => tunnel.with_auth(auth.clone()),
        None => tunnel,
    }
}

/// SOCKS has no default port.
fn with_port(server: Uri) -> Uri {
    let port = port_of(&server);
    let mut parts = server.clone().into_parts();
    let authority = server.host().and_then(|host| format!("{host}:{port}").parse().ok());
    parts.authority = authority;
    parts.path_and_query.get_or_insert(PathAndQuery::from_static("/"));
    Uri::from_parts(parts).unwrap_or(server)
}

/// The same client that kube makes, with another connector.
fn through<C>(connector: C, proxy: &Proxy, config: &Config) -> kube::Result<ClientBuilder<HttpService>>
where
    C: Service<Uri> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
    C::Future: Send + 'static,
    C::Error: std::error::Error + Send + Sync + 'static,
{
    let proxy = proxy.clone();
    let connector = connector.map_err(move |error: C::Error| {
        let cause = root_cause(&error);
        ThroughProxy { proxy: proxy.clone(), cause }
    });
    let mut connector = TimeoutConnector::new(config.rustls_https_connector_with_connector(connector)?);
    connector.set_connect_timeout(config.connect_timeout);
    connector.set_read_timeout(config.read_timeout);
    connector.set_write_timeout(config.write_timeout);
    connector.set_reset_reader_on_write(config.reset_reader_on_write);
    let client = HttpClient::builder(TokioExecutor::new()).build(connector);
    let client = config.extra_headers_layer()?.layer(client.map_err(BoxError::from));
    let client = tower::util::option_layer(config.auth_layer()?).layer(client);
    let client = config.base_uri_layer().layer(client);
    let service = client.map_response(|response: Response<Incoming>| {
        response.map(|body| Box::new(http_body_util::BodyExt::map_err(body, BoxError::from)) as Box<DynBody>)
    });
    Ok(ClientBuilder::new(service.boxed(), config.default_namespace.clone()))
}
