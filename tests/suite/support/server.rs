//! The server on loopback, in this process, wired as `serve` wires it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use eks_pod_identity_webhook::{
    accounts::cache::{Cache, Writer},
    admission::Webhook,
    injection::settings::Settings,
    lifecycle::{self, Announcer, Readiness},
    metrics::Metrics,
    recording::{Folder, Recorder, Recording},
    server::{
        Timeouts,
        admin::Admin,
        debug::DebugPages,
        listen::{Listener, Port},
        mutate::{Mutate, RequestLimits},
    },
    tls::{CertificateFiles, Clients, Reloader, TlsVersion, self_managed::serving::Served},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{client::Client, metric, pki::Ca, recorded_account};

pub(crate) struct Options {
    pub(crate) timeouts: Timeouts,
    pub(crate) requests: RequestLimits,
    pub(crate) max_connections: usize,
    pub(crate) require_client_cert: bool,
    pub(crate) tls_min_version: TlsVersion,
    pub(crate) http2: bool,
    pub(crate) record: Option<Folder>,
    pub(crate) debug_endpoints: bool,
    pub(crate) metrics_namespaces: usize,
    /// A certificate other than one from files, and the metrics that it is counted in.
    pub(crate) served: Option<(Served, Metrics)>,
}

impl Default for Options {
    fn default() -> Self {
        let long = Duration::from_secs(60);
        Self {
            timeouts: Timeouts { handshake: long, header: long, write: long, idle: long },
            requests: RequestLimits {
                body_bytes: 1 << 20,
                body_time: long,
                lookup_grace: Duration::from_secs(1),
                waits: 50,
                memory: 8 << 20,
                streams: 100,
                threads: 2,
            },
            max_connections: 100,
            require_client_cert: false,
            tls_min_version: TlsVersion::Tls12,
            http2: false,
            record: None,
            debug_endpoints: false,
            metrics_namespaces: 0,
            served: None,
        }
    }
}

impl Options {
    /// Unknown accounts are waited for until the test is over.
    pub(crate) fn patient() -> Self {
        let mut options = Self::default();
        options.requests.lookup_grace = Duration::from_secs(3600);
        options
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) ca: Ca,
    pub(crate) certs: TempDir,
    pub(crate) writer: Writer,
    pub(crate) metrics: Metrics,
    pub(crate) announcer: Announcer,
    pub(crate) serving: JoinHandle<()>,
    pub(crate) recording: Option<Recording>,
}

impl Server {
    /// A server that knows the accounts of the recorded requests.
    pub(crate) async fn start(options: Options) -> Self {
        let mut server = Self::start_unsynced(options).await;
        server.writer.begin_list();
        for name in ["api", "plain", "default"] {
            server.writer.listed("payments", name, recorded_account("payments", name).unwrap());
        }
        server.writer.end_list();
        server
    }

    pub(crate) async fn start_unsynced(options: Options) -> Self {
        let (served, metrics) = options.served.unzip();
        let metrics = metrics.unwrap_or_else(|| Metrics::with_namespaces(options.metrics_namespaces));
        let (cache, writer) = Cache::new(metrics.accounts.clone());
        let (announcer, drain) = lifecycle::channel();

        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let (ca, certs) = (Ca::new(), tempfile::tempdir().unwrap());
        ca.server(1).write(certs.path());
        std::fs::write(certs.path().join("ca.crt"), ca.pem()).unwrap();
        let files = CertificateFiles {
            cert: certs.path().join("tls.crt"),
            key: certs.path().join("tls.key"),
            clients: Clients {
                ca: options.require_client_cert.then(|| certs.path().join("ca.crt")),
                min_version: options.tls_min_version,
                http2: options.http2,
            },
        };
        let (tls, not_ready_reason) = match served {
            Some(Served { config, not_ready_reason }) => (config, Some(not_ready_reason)),
            None => {
                let reloader = Reloader::open(files, metrics.tls.clone()).unwrap();
                let tls = reloader.current();
                tokio::spawn(reloader.follow(Duration::from_millis(5)));
                (tls, None)
            }
        };

        let listener = |tls| {
            let port = Port::bind(SocketAddr::from(([127, 0, 0, 1], 0)), false).unwrap();
            let tcp = port.listen().unwrap();
            let address = tcp.local_addr().unwrap();
            let listener = Listener {
                tcp,
                tls,
                timeouts: options.timeouts,
                max_connections: options.max_connections,
                workers: None,
                drain: drain.clone(),
                metrics: metrics.http.clone(),
            };
            (listener, address)
        };
        let (webhook, address) = listener(Some(tls));
        let (admin_listener, admin) = listener(None);
        let admin_listener = Listener { metrics: Metrics::new().http, ..admin_listener };
        let readiness = Readiness::new(drain.clone()).with(not_ready_reason);
        let readiness = Arc::new(readiness.with_condition(Cache::not_ready_reason(Arc::clone(&cache))));
        readiness.listening();
        let config = serde_json::json!({"flags": {}});
        let debug = DebugPages::new(config, Arc::clone(&cache), Arc::default());
        let debug = options.debug_endpoints.then_some(debug);
        tokio::spawn(Admin::new(readiness, metrics.clone(), debug).serve(admin_listener));
        let core = Webhook::new(Arc::new(Settings::default()));
        let record = |folder| Recorder::start(folder, metrics.recordings.clone()).unwrap();
        let (recorder, recording) = options.record.map(record).unzip();
        let mutate = Mutate::new(core, cache, options.requests, metrics.clone(), recorder);
        let serving = tokio::spawn(mutate.serve(webhook));
        Self { address, admin, ca, certs, writer, metrics, announcer, serving, recording }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address, &self.ca.pem()).await
    }

    pub(crate) fn metric(&self, series: &str) -> f64 {
        metric(&String::from_utf8(self.metrics.render()).unwrap(), &format!("pod_identity_webhook_{series}"))
    }

    /// Whether the probe says that requests should be sent here, and what it says.
    pub(crate) async fn readyz(&self) -> (u16, String) {
        plain_get(self.admin, "/readyz").await
    }
}

/// A GET over plain HTTP on a connection of its own.
pub(crate) async fn plain_get(address: SocketAddr, path: &str) -> (u16, String) {
    plain(address, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").as_bytes())
        .await
}

/// Writes bytes to a plain connection, and reads status and body of what comes back.
pub(crate) async fn plain(address: SocketAddr, request: &[u8]) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let status = response.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, response.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
}
