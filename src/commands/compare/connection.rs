//! Connections to a webhook: one for each caller in HTTP/1.1, one that all callers share in HTTP/2.

use std::sync::Arc;

use anyhow::{Context, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode, Version,
    client::conn::{http1, http2},
    header::{ACCEPT, CONTENT_TYPE, HOST},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;

use super::{
    sides::{Side, Streams},
    stream::Stream,
};
use crate::{cli::webhook_url::WebhookUrl, server::Protocol};

/// An open connection.
pub(super) enum Connection {
    /// Requests one after the other.
    Http1 {
        sender: http1::SendRequest<Full<Bytes>>,
        /// Reads and writes; ends with the connection.
        driver: JoinHandle<hyper::Result<()>>,
    },
    /// Requests at the same time.
    Http2(Streams),
}

/// A whole response.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Connection {
    /// Opens a connection, or joins the others on theirs.
    pub(super) async fn open(side: &Side) -> anyhow::Result<Self> {
        match side.protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                let handshake =
                    builder.title_case_headers(true).handshake(TokioIo::new(shake_hands(side).await?));
                let (sender, connection) = handshake.await?;
                Ok(Self::Http1 { sender, driver: tokio::spawn(connection) })
            }
            Protocol::Http2 => {
                let mut shared = side.shared.lock().await;
                let open = shared.take_if(|streams| !streams.is_closed());
                let streams = match open {
                    Some(streams) => streams,
                    None => open_streams(side).await?,
                };
                Ok(Self::Http2(shared.insert(streams).clone()))
            }
        }
    }

    /// Whether the next request can be sent.
    pub(super) async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1 { sender, .. } => sender.ready().await.is_ok(),
            Self::Http2(streams) => streams.ready().await.is_ok(),
        }
    }

    /// Sends a review and reads the reply.
    pub(super) async fn exchange(&mut self, url: &WebhookUrl, review: Bytes) -> anyhow::Result<Reply> {
        let response = match self {
            Self::Http1 { sender, driver } => {
                let request = request(url, Version::HTTP_11, review)?;
                match sender.send_request(request).await {
                    // The connection has ended, and only its driver knows of what: an alert that refuses us, for one.
                    Err(error) if error.is_canceled() => match driver.await {
                        Ok(Err(cause)) => return Err(cause.into()),
                        _ => return Err(error.into()),
                    },
                    response => response?,
                }
            }
            Self::Http2(streams) => streams.send_request(request(url, Version::HTTP_2, review)?).await?,
        };
        let (head, body) = response.into_parts();
        Ok(Reply { status: head.status, body: body.collect().await?.to_bytes() })
    }
}

type Tls = tokio_rustls::client::TlsStream<Stream>;

async fn shake_hands(side: &Side) -> anyhow::Result<Tls> {
    let stream = side.route.connect(&side.url).await?;
    let connector = TlsConnector::from(Arc::clone(&side.tls));
    connector.connect(side.url.server_name(), stream).await.context("TLS handshake")
}

async fn open_streams(side: &Side) -> anyhow::Result<Streams> {
    let stream = shake_hands(side).await?;
    ensure!(
        stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        "HTTP/2 is not offered: leave out --http2, or start the webhook with `serve --http2 on`"
    );
    let (streams, connection) =
        http2::Builder::new(TokioExecutor::new()).handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(streams)
}

/// The request as kube-apiserver sends it, but for its name and `Accept-Encoding: gzip`: what we would have to unpack
/// would be measured with the webhook.
fn request(url: &WebhookUrl, version: Version, review: Bytes) -> anyhow::Result<Request<Full<Bytes>>> {
    let request = match version {
        Version::HTTP_2 => Request::post(url.uri()),
        _ => Request::post(url.target()).header(HOST, url.authority()),
    };
    let request = request.header(ACCEPT, "application/json, */*").header(CONTENT_TYPE, "application/json");
    request.version(version).body(Full::new(review)).context("no request can be made of this URL")
}
