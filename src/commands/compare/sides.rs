//! The webhooks that the flags name: at a URL, or installed in a cluster.

use std::{fmt, sync::Arc};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2;
use rustls::ClientConfig;
use tokio::{net::TcpStream, sync::Mutex};

use super::{about::About, installed::Installed, stream::Stream, tls};
use crate::{
    cli::{CompareSideArgs, CompareTlsArgs, webhook_url::WebhookUrl},
    commands::cluster::Clusters,
    server::Protocol,
};

/// A webhook, and which of the two it is.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) url: WebhookUrl,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) route: Route,
    pub(super) protocol: Protocol,
    /// The connection that all share in HTTP/2, once there is one.
    pub(super) shared: Mutex<Option<Streams>>,
    pub(super) about: About,
}

/// A connection of HTTP/2.
pub(super) type Streams = http2::SendRequest<Full<Bytes>>;

/// How a webhook is reached.
pub(super) enum Route {
    /// At its URL.
    Direct,
    /// By a port-forward to a pod of its Service.
    PortForward(Box<Installed>),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.url)
    }
}

impl Route {
    pub(super) async fn connect(&self, url: &WebhookUrl) -> anyhow::Result<Stream> {
        match self {
            Self::Direct => {
                let stream = TcpStream::connect(url.address()).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
            Self::PortForward(installed) => installed.connect().await,
        }
    }
}

/// Finds what stands behind the flags of one side; none if they name nothing.
pub(super) async fn find(
    name: &'static str,
    args: CompareSideArgs,
    trust: &CompareTlsArgs,
    protocol: Protocol,
    clusters: &mut Clusters,
) -> anyhow::Result<Option<Arc<Side>>> {
    let side = match (args.url, args.service) {
        (Some(url), _) => {
            let about = match &args.admin {
                Some(admin) => About::at(admin).await.with_context(|| format!("--{name}-admin"))?,
                None => About::default(),
            };
            let tls = Arc::new(tls::load(trust, protocol, &[])?);
            Side { name, url, tls, route: Route::Direct, protocol, shared: Mutex::default(), about }
        }
        (None, Some((namespace, service))) => {
            let flag = || format!("--{name}-service");
            let client = clusters.client().await?;
            let installed = Installed::find(&client, &namespace, &service).await.with_context(flag)?;
            let about = installed.about().await.with_context(flag)?;
            let tls = Arc::new(tls::load(trust, protocol, &installed.authorities)?);
            Side {
                name,
                url: installed.url.clone(),
                tls,
                route: Route::PortForward(Box::new(installed)),
                protocol,
                shared: Mutex::default(),
                about,
            }
        }
        (None, None) => return Ok(None),
    };
    Ok(Some(Arc::new(side)))
}
