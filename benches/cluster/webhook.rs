//! The webhooks under measurement, as processes, and how the API server calls them.

use std::{fmt, fs, path::Path, time::Duration};

use base64_simd::STANDARD;
use serde_json::{Value, json};

use crate::{api::Api, control_plane::ControlPlane, load::NAMESPACE, process::Process, support::pki::Ca};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// How the API server calls a webhook.
#[derive(Clone, Copy)]
pub(crate) enum Route {
    /// Through a Service: always HTTP/1.1.
    Service,
    /// At a URL on loopback: HTTP/2, where the webhook offers it.
    Loopback,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "Service",
            Self::Loopback => "loopback",
        })
    }
}

/// A running webhook.
pub(crate) struct Webhook {
    pub(crate) name: &'static str,
    process: Process,
    port: u16,
    admin: Option<u16>,
    ca: String,
}

/// What a webhook did, between two moments.
#[derive(Clone, Default)]
pub(crate) struct Counters {
    pub(crate) cpu_micros: f64,
    pub(crate) switches: f64,
    /// Connections that it accepted, each a TLS handshake; unknown of a peer.
    pub(crate) connections: Option<f64>,
}

impl Counters {
    pub(crate) fn since(&self, before: Self) -> Self {
        Self {
            cpu_micros: self.cpu_micros - before.cpu_micros,
            switches: self.switches - before.switches,
            connections: self.connections.zip(before.connections).map(|(now, before)| now - before),
        }
    }
}

impl Webhook {
    /// This program, watching the API server.
    pub(crate) async fn start_ours(plane: &ControlPlane) -> Self {
        let (dir, ca) = certificate(plane, "ours");
        let [port, admin] = free_ports();
        let file = |name: &str| format!("{dir}/{name}");
        let args = [
            format!("--kubeconfig={}", file("kubeconfig")),
            format!("--tls-cert-file={}", file("tls.crt")),
            format!("--tls-key-file={}", file("tls.key")),
            format!("--listen=127.0.0.1:{port}"),
            format!("--admin-listen=127.0.0.1:{admin}"),
        ];
        let program = Path::new(env!("CARGO_BIN_EXE_eks-pod-identity-webhook"));
        let process = Process::start(program, args, file("log").into());
        let webhook = Self { name: "this webhook", process, port, admin: Some(admin), ca };
        webhook
            .wait_for("is ready", async || {
                http(admin, "/readyz").await.is_some_and(|text| text.trim() == "ok")
            })
            .await;
        webhook
    }

    /// Another webhook, by the flags of amazon-eks-pod-identity-webhook.
    pub(crate) async fn start_peer(plane: &ControlPlane, program: &Path) -> Self {
        let (dir, ca) = certificate(plane, "peer");
        let [port, metrics] = free_ports();
        let file = |name: &str| format!("{dir}/{name}");
        let args = [
            "--in-cluster=false".to_owned(),
            format!("--kubeconfig={}", file("kubeconfig")),
            format!("--tls-cert={}", file("tls.crt")),
            format!("--tls-key={}", file("tls.key")),
            format!("--port={port}"),
            format!("--metrics-port={metrics}"),
            "--annotation-prefix=eks.amazonaws.com".to_owned(),
            "--token-audience=sts.amazonaws.com".to_owned(),
            "--aws-default-region=us-east-1".to_owned(),
        ];
        let process = Process::start(program, args, file("log").into());
        let webhook = Self { name: "peer", process, port, admin: None, ca };
        webhook
            .wait_for("listens", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok())
            .await;
        webhook
    }

    /// Has the API server call this webhook for every pod, and waits until it does.
    pub(crate) async fn register(&self, plane: &ControlPlane, route: Route) {
        let api = plane.api().await;
        let mut client = json!({"caBundle": STANDARD.encode_to_string(&self.ca)});
        match route {
            Route::Loopback => client["url"] = json!(format!("https://127.0.0.1:{}/mutate", self.port)),
            Route::Service => {
                let service = json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "webhook", "namespace": NAMESPACE},
                    "spec": {"type": "ExternalName", "externalName": "localhost"},
                });
                api.apply(&service).await.unwrap();
                client["service"] =
                    json!({"name": "webhook", "namespace": NAMESPACE, "path": "/mutate", "port": self.port});
            }
        }
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "bench"},
            "webhooks": [{
                "name": "bench.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": client,
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
            }],
        });
        api.create(CONFIGURATIONS, &configuration).await.unwrap();
        self.wait_for("injects", async || is_injected(&api).await == Some(true)).await;
    }

    /// Ends that, and waits until the API server has seen it.
    pub(crate) async fn unregister(&self, plane: &ControlPlane) {
        let api = plane.api().await;
        api.delete(&format!("{CONFIGURATIONS}/bench")).await.unwrap();
        self.wait_for("is left alone", async || is_injected(&api).await == Some(false)).await;
    }

    pub(crate) async fn counters(&self) -> Counters {
        let pid = self.process.pid();
        let metrics = match self.admin {
            Some(admin) => http(admin, "/metrics").await,
            None => None,
        };
        let connections = metrics.and_then(|metrics| {
            let line =
                metrics.lines().find_map(|line| line.strip_prefix("pod_identity_webhook_connections_total "));
            line?.trim().parse().ok()
        });
        Counters { cpu_micros: cpu_micros(pid), switches: switches(pid), connections }
    }

    async fn wait_for(&self, what: &str, holds: impl AsyncFn() -> bool) {
        for _ in 0..300 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{}: not seen within 30 s: it {what}\n{}", self.name, self.process.last_words());
    }
}

/// Whether a pod that is created now has the role; unknown where it is refused.
async fn is_injected(api: &Api) -> Option<bool> {
    let pod = json!({
        "metadata": {"name": "probe"},
        "spec": {"serviceAccountName": "api", "containers": [{"name": "app", "image": "app"}]},
    });
    let created = api.create(&format!("/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"), &pod).await.ok()?;
    Some(created.to_string().contains("AWS_ROLE_ARN"))
}

/// A folder with a certificate for both routes and a kubeconfig, and who signed the certificate.
fn certificate(plane: &ControlPlane, name: &str) -> (String, String) {
    let dir = plane.dir.join(name);
    fs::create_dir_all(&dir).unwrap();
    let ca = Ca::new();
    ca.server_of(&["localhost", "127.0.0.1", &format!("webhook.{NAMESPACE}.svc")]).write(&dir);
    fs::write(dir.join("kubeconfig"), plane.admin_kubeconfig().to_string()).unwrap();
    (dir.display().to_string(), ca.pem())
}

async fn http(port: u16, path: &str) -> Option<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// The CPU time of a process in microseconds (`proc_pid_schedstat(5)`).
pub(crate) fn cpu_micros(pid: u32) -> f64 {
    tasks(pid, "schedstat", |text| text.split(' ').next()?.parse::<f64>().ok()) / 1e3
}

/// How often its threads gave up the processor to wait: a `futex` or `epoll_wait` each.
fn switches(pid: u32) -> f64 {
    tasks(pid, "status", |text| {
        text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
    })
}

fn tasks(pid: u32, file: &str, read: impl Fn(&str) -> Option<f64>) -> f64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let values = tasks.filter_map(|task| read(&fs::read_to_string(task.ok()?.path().join(file)).ok()?));
    values.sum()
}

impl ControlPlane {
    /// A kubeconfig of an administrator.
    fn admin_kubeconfig(&self) -> Value {
        let (_, admin) = self.credentials();
        let pem = |text: &str| STANDARD.encode_to_string(text);
        self.kubeconfig(
            &json!({"client-certificate-data": pem(&admin.cert), "client-key-data": pem(&admin.key)}),
        )
    }
}
