//! One connection to one webhook, kept alive as kube-apiserver keeps it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{Builder, SendRequest},
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::{
    net::TcpStream,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{about::About, installed::Installed, stream::Stream};
use crate::cli::webhook_url::WebhookUrl;

/// How long connecting and a request may each take: kube-apiserver's default for a webhook.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A webhook, and which of the two it is.
pub(super) struct Side {
    pub(super) name: &'static str,
    pub(super) url: WebhookUrl,
    pub(super) tls: Arc<ClientConfig>,
    pub(super) route: Route,
    pub(super) about: About,
}

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

/// Sends reviews to a side, one after the other.
pub(super) struct Client {
    side: Arc<Side>,
    connection: Option<Connection>,
}

/// An open connection.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; ends with the connection.
    driver: JoinHandle<hyper::Result<()>>,
}

/// What came back, and how long it took from the first byte sent to the last one read.
pub(super) struct Exchange {
    pub(super) reply: anyhow::Result<Reply>,
    pub(super) time: Duration,
}

/// A whole response.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(side: Arc<Side>) -> Self {
        Self { side, connection: None }
    }

    /// Sends a review and awaits the reply. A request that fails is not sent again, as kube-apiserver does not; the
    /// next one opens a new connection. The error is that none can be opened.
    pub(super) async fn ask(&mut self, review: Bytes) -> anyhow::Result<Exchange> {
        let mut kept = self.connection.take();
        // One that the server has closed between two requests costs nobody a request.
        if let Some(connection) = &mut kept
            && !matches!(timeout(TIMEOUT, connection.sender.ready()).await, Ok(Ok(())))
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await.with_context(|| self.side.to_string())?,
        };
        let request = self.request(review)?;
        let start = Instant::now();
        let reply = timeout(TIMEOUT, connection.exchange(request)).await;
        let time = start.elapsed();
        let reply = reply.with_context(|| format!("no answer within {TIMEOUT:?}")).flatten();
        if reply.is_ok() {
            self.connection = Some(connection);
        }
        Ok(Exchange { reply, time })
    }

    /// A new connection. Some attempts are made, since one that meets a restart says little about the webhook.
    async fn connect(&self) -> anyhow::Result<Connection> {
        let attempt = || async {
            timeout(TIMEOUT, Connection::open(&self.side))
                .await
                .with_context(|| format!("not within {TIMEOUT:?}"))
                .flatten()
        };
        let pauses =
            ExponentialBuilder::default().with_min_delay(Duration::from_millis(100)).with_max_times(3);
        attempt.retry(pauses).sleep(sleep).await.context("can't connect")
    }

    /// The request as kube-apiserver sends it, but for its name and `Accept-Encoding: gzip`: what we would have to
    /// unpack would be measured with the webhook.
    fn request(&self, review: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
        let url = &self.side.url;
        let request = Request::post(url.target())
            .header(HOST, url.authority())
            .header(ACCEPT, "application/json, */*")
            .header(CONTENT_TYPE, "application/json");
        request.body(Full::new(review)).context("no request can be made of this URL")
    }
}

impl Route {
    async fn connect(&self, url: &WebhookUrl) -> anyhow::Result<Stream> {
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

impl Connection {
    async fn open(side: &Side) -> anyhow::Result<Self> {
        let stream = side.route.connect(&side.url).await?;
        let connector = TlsConnector::from(Arc::clone(&side.tls));
        let stream = connector.connect(side.url.server_name(), stream).await.context("TLS handshake")?;
        let (sender, connection) =
            Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, driver: tokio::spawn(connection) })
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> anyhow::Result<Reply> {
        let response = match self.sender.send_request(request).await {
            // The connection has ended, and only its driver knows of what: an alert that refuses us, for one.
            Err(error) if error.is_canceled() => match (&mut self.driver).await {
                Ok(Err(cause)) => return Err(cause.into()),
                _ => return Err(error.into()),
            },
            response => response?,
        };
        let (head, body) = response.into_parts();
        Ok(Reply { status: head.status, body: body.collect().await?.to_bytes() })
    }
}
