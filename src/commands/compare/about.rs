//! What a webhook is, by its admin port: its version and its flags.

use std::time::Duration;

use anyhow::{Context, anyhow, bail, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

use super::stream::Stream;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Metrics of a process with thousands of namespaces have less than a megabyte.
const MAX_BYTES: usize = 8 << 20;

const BUILD_INFO: &str = "pod_identity_webhook_build_info{version=\"";

/// What is known of a webhook beside its answers.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    pub(super) version: Option<String>,
    /// The flags that were set and their values, by name; none where the admin port does not show them.
    pub(super) flags: Vec<(String, String)>,
}

impl About {
    /// Asks an admin port, on connections of its own. A webhook that counts no version, or shows no flags, has none.
    pub(super) async fn fetch(connect: impl AsyncFn() -> anyhow::Result<Stream>) -> anyhow::Result<Self> {
        let metrics = get(connect().await, "/metrics").await.context("can't read its metrics")?;
        let metrics = metrics.context("there is no /metrics; is it the admin port?")?;
        let config = get(connect().await, "/debug/config").await.context("can't read its flags")?;
        let config = config.map(|config| serde_json::from_str(&config)).transpose();
        let config: Option<Value> = config.context("/debug/config is not JSON")?;
        let version = metrics.lines().find_map(|line| line.strip_prefix(BUILD_INFO)?.split('"').next());
        Ok(Self { version: version.map(str::to_owned), flags: config.as_ref().map_or_else(Vec::new, flags) })
    }

    /// Asks the admin port at a URL.
    pub(super) async fn at(admin: &Uri) -> anyhow::Result<Self> {
        ensure!(admin.scheme_str() == Some("http"), "{admin}: want a URL such as http://localhost:9090");
        let address = (admin.host().unwrap_or_default(), admin.port_u16().unwrap_or(80));
        let connect = async || Ok(Box::new(TcpStream::connect(address).await?) as Stream);
        Self::fetch(connect).await.with_context(|| admin.to_string())
    }
}

fn flags(config: &Value) -> Vec<(String, String)> {
    let flags = config["flags"].as_object().into_iter().flatten();
    let mut flags: Vec<_> = flags.filter(|(_, flag)| flag["from"] != "default").collect();
    flags.sort_by_key(|(name, _)| *name);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    flags.into_iter().map(|(name, flag)| (name.clone(), text(&flag["value"]))).collect()
}

/// The text at a path; none if it does not exist.
async fn get(stream: anyhow::Result<Stream>, path: &str) -> anyhow::Result<Option<String>> {
    let stream = stream?;
    let exchange = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path).header(HOST, "admin").body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        connection.abort();
        let body = body.map_err(|error| anyhow!("{error}"))?.to_bytes();
        match status {
            StatusCode::OK => Ok(Some(String::from_utf8(body.into()).context("not UTF-8")?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => bail!("HTTP status {status}"),
        }
    };
    timeout(TIMEOUT, exchange).await.with_context(|| format!("no answer within {TIMEOUT:?}"))?
}
