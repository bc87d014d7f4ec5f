//! Clients that create pods, as dry runs: the API server calls the webhook for them, and stores nothing.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{self, SendRequest},
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::TlsConnector;

use crate::{
    control_plane::ControlPlane,
    webhook::{Counters, Webhook, cpu_micros},
};

pub(crate) const NAMESPACE: &str = "bench";

/// Everything that a client needs.
pub(crate) struct Load {
    tls: Arc<ClientConfig>,
    port: u16,
    pod: Bytes,
    api_server: u32,
}

/// What came of a number of clients.
#[derive(Clone)]
pub(crate) struct Measured {
    /// In microseconds.
    latencies: Histogram<u64>,
    time: Duration,
    api_server_micros: f64,
    pub(crate) webhook: Option<Counters>,
}

impl Load {
    /// Creates the namespace and its accounts, and remembers how to reach the API server.
    pub(crate) async fn prepare(plane: &ControlPlane) -> Self {
        plane.api().await.create_namespace(NAMESPACE).await;
        let (ca, admin) = plane.credentials();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(admin.cert.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(admin.key.as_bytes()).unwrap();
        let tls = ClientConfig::builder().with_root_certificates(roots);
        let tls = Arc::new(tls.with_client_auth_cert(chain, key).unwrap());
        let pod = Bytes::from(serde_json::to_vec(&pod()).unwrap());
        Self { tls, port: plane.port(), pod, api_server: plane.api_server_pid() }
    }

    /// Lets so many clients create pods, one after the other each, for that long. The first second is not measured, neither of
    /// the pods nor of what they cost.
    pub(crate) async fn run(&self, clients: usize, time: Duration, webhook: Option<&Webhook>) -> Measured {
        let (measuring, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (measuring, over) = (Arc::clone(&measuring), Arc::clone(&over));
            let mut client = Client::connect(self).await;
            tasks.spawn(async move {
                let mut latencies = latencies();
                while !over.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    client.create().await;
                    if measuring.load(Ordering::Relaxed) {
                        latencies.saturating_record(start.elapsed().as_micros() as u64);
                    }
                }
                latencies
            });
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = counters(webhook).await;
        let cpu = cpu_micros(self.api_server);
        measuring.store(true, Ordering::Relaxed);
        let start = Instant::now();
        tokio::time::sleep(time).await;
        let (time, api_server_micros) = (start.elapsed(), cpu_micros(self.api_server) - cpu);
        let webhook = counters(webhook).await.zip(before).map(|(after, before)| after.since(before));
        measuring.store(false, Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        let mut latencies = latencies();
        while let Some(client) = tasks.join_next().await {
            latencies.add(client.unwrap()).unwrap();
        }
        Measured { latencies, time, api_server_micros, webhook }
    }
}

impl Measured {
    pub(crate) fn pods(&self) -> f64 {
        self.latencies.len() as f64
    }

    pub(crate) fn pods_per_second(&self) -> f64 {
        self.pods() / self.time.as_secs_f64()
    }

    /// In milliseconds.
    pub(crate) fn latency(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / 1e3
    }

    /// In microseconds, per pod.
    pub(crate) fn api_server_cpu(&self) -> f64 {
        self.api_server_micros / self.pods()
    }
}

/// Up to a minute, which is longer than the API server waits for a webhook. `saturating_record` does not make room.
fn latencies() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).unwrap()
}

async fn counters(webhook: Option<&Webhook>) -> Option<Counters> {
    match webhook {
        Some(webhook) => Some(webhook.counters().await),
        None => None,
    }
}

/// A connection to the API server.
struct Client {
    sender: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
}

impl Client {
    async fn connect(load: &Load) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", load.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(&load.tls)).connect(name, stream).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::post(format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"));
        let request = request.header(HOST, "localhost").header(CONTENT_TYPE, "application/json");
        Self { sender, request: request.body(Full::new(load.pod.clone())).unwrap() }
    }

    async fn create(&mut self) {
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(self.request.clone()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(status, StatusCode::CREATED, "{}", String::from_utf8_lossy(&body));
    }
}

/// An ordinary pod.
fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "web-", "labels": {"app": "web"}},
        "spec": {
            "serviceAccountName": "api",
            "containers": [{
                "name": "web",
                "image": "registry.example.com/web:1.2.3",
                "ports": [{"containerPort": 8080}],
                "env": [{"name": "LOG_LEVEL", "value": "info"}],
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
                "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
            }],
        },
    })
}
