//! What a webhook is, by its admin port: its version and its flags.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, Uri, body::Bytes, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};

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
    /// Asks an admin port. A webhook that counts no version, or shows no flags, has none.
    pub(super) async fn fetch(admin: &Uri) -> anyhow::Result<Self> {
        let metrics =
            get(admin, "/metrics").await.with_context(|| format!("{admin}: can't read its metrics"))?;
        let metrics =
            metrics.with_context(|| format!("{admin}: there is no /metrics; is it the admin port?"))?;
        let config =
            get(admin, "/debug/config").await.with_context(|| format!("{admin}: can't read its flags"))?;
        let config = config.map(|config| serde_json::from_str(&config)).transpose();
        let config: Option<Value> = config.with_context(|| format!("{admin}: /debug/config is not JSON"))?;
        let version = metrics.lines().find_map(|line| line.strip_prefix(BUILD_INFO)?.split('"').next());
        Ok(Self { version: version.map(str::to_owned), flags: config.as_ref().map_or_else(Vec::new, flags) })
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
async fn get(admin: &Uri, path: &str) -> anyhow::Result<Option<String>> {
    ensure!(admin.scheme_str() == Some("http"), "want a URL such as http://localhost:9090");
    let host = admin.host().context("no host in the URL")?;
    let exchange = async {
        let stream = TcpStream::connect((host, admin.port_u16().unwrap_or(80))).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get(path).header(HOST, host).body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
        connection.abort();
        let body = body.map_err(|error| anyhow::anyhow!("{error}"))?.to_bytes();
        match status {
            StatusCode::OK => Ok(Some(String::from_utf8(body.into()).context("not UTF-8")?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => bail!("HTTP status {status}"),
        }
    };
    timeout(TIMEOUT, exchange).await.with_context(|| format!("no answer within {TIMEOUT:?}"))?
}
