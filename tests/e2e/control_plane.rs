//! etcd and kube-apiserver on loopback, from the folder that `KUBEBUILDER_ASSETS` names.

use std::{
    env, fs,
    io::{Write, stderr},
    net::TcpListener,
    path::PathBuf,
    time::Duration,
};

use base64_simd::STANDARD;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::{
    api::Api,
    process::Process,
    support::pki::{Ca, Pair},
};

/// The binaries' folder. Without it the test that asks is skipped, and says so.
pub(crate) fn assets() -> Option<PathBuf> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty()).map(PathBuf::from);
    if assets.is_none() {
        skipped("KUBEBUILDER_ASSETS names no folder with etcd and kube-apiserver; see docs/testing.md");
    }
    assets
}

/// Says that this test was skipped, and why: past libtest, which shows nothing of a test that passes.
pub(crate) fn skipped(why: &str) {
    let test = std::thread::current();
    writeln!(stderr(), "{}: skipped, {why}", test.name().unwrap_or("a test")).ok();
}

/// A control plane of one etcd and one kube-apiserver, with RBAC and an audit log. It ends when it is dropped or the
/// tests end.
pub(crate) struct ControlPlane {
    assets: PathBuf,
    /// Certificates, data and logs. It stays until the next run, to be looked at.
    pub(crate) dir: PathBuf,
    ports: [u16; 3],
    ca: Ca,
    admin: Pair,
    etcd: Process,
    api_server: Option<Process>,
}

impl ControlPlane {
    /// Starts a control plane, which keeps what it has in the folder called `name`; `None` if it can't be.
    pub(crate) async fn start(name: &str) -> Option<Self> {
        let assets = assets()?;
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("e2e").join(name);
        fs::remove_dir_all(&dir).ok();
        fs::create_dir_all(&dir).unwrap();

        let ca = Ca::new();
        let admin = ca.client_called("admin", "system:masters");
        let server = ca.server(1);
        let accounts = KeyPair::generate().unwrap();
        for (file, text) in [
            ("ca.crt", &ca.pem()),
            ("tls.crt", &server.cert),
            ("tls.key", &server.key),
            ("accounts.key", &accounts.serialize_pem()),
            ("accounts.pub", &accounts.public_key_pem()),
            ("audit.yaml", &AUDIT_POLICY.to_owned()),
        ] {
            fs::write(dir.join(file), text).unwrap();
        }

        let ports = free_ports();
        let [_, client, peer] = ports.map(|port| format!("http://127.0.0.1:{port}"));
        let etcd = [
            format!("--data-dir={}", dir.join("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            "--unsafe-no-fsync=true".to_owned(),
        ];
        let etcd = Process::start(&assets.join("etcd"), etcd, dir.join("etcd.log"));
        let mut plane = Self { assets, dir, ports, ca, admin, etcd, api_server: None };
        plane.start_api_server().await;
        Some(plane)
    }

    /// Starts the API server, with flags that Kubernetes 1.30 to 1.37 know.
    pub(crate) async fn start_api_server(&mut self) {
        let [port, etcd, _] = self.ports;
        let file = |name| self.dir.join(name).display().to_string();
        let args = [
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            format!("--secure-port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            format!("--tls-cert-file={}", file("tls.crt")),
            format!("--tls-private-key-file={}", file("tls.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--service-account-issuer=https://issuer.test".to_owned(),
            format!("--service-account-signing-key-file={}", file("accounts.key")),
            format!("--service-account-key-file={}", file("accounts.pub")),
            "--authorization-mode=RBAC".to_owned(),
            format!("--audit-policy-file={}", file("audit.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
        ];
        let log = self.dir.join("kube-apiserver.log");
        self.api_server = Some(Process::start(&self.assets.join("kube-apiserver"), args, log));

        let api = self.api().await;
        for _ in 0..600 {
            if api.text("/readyz").await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let words = self.api_server.as_ref().map(Process::last_words).unwrap_or_default();
        panic!(
            "kube-apiserver is not ready after a minute:\n{words}\netcd says:\n{}",
            self.etcd.last_words()
        );
    }

    /// Ends the API server without a word, as a crash would.
    pub(crate) fn kill_api_server(&mut self) {
        self.api_server = None;
    }

    /// An administrator's client.
    pub(crate) async fn api(&self) -> Api {
        let pem = |text: &str| STANDARD.encode_to_string(text);
        let user = json!({
            "client-certificate-data": pem(&self.admin.cert),
            "client-key-data": pem(&self.admin.key),
        });
        Api::new(self.kubeconfig(&user)).await
    }

    /// A kubeconfig for this cluster.
    pub(crate) fn kubeconfig(&self, user: &Value) -> Value {
        let server = format!("https://localhost:{}", self.ports[0]);
        let authority = STANDARD.encode_to_string(self.ca.pem());
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "e2e",
            "clusters": [
                {"name": "e2e", "cluster": {"server": server, "certificate-authority-data": authority}},
            ],
            "users": [{"name": "e2e", "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": "e2e"}}],
        })
    }

    /// The minor version of Kubernetes 1.
    pub(crate) async fn minor_version(&self) -> u32 {
        let version = self.api().await.get("/version").await.unwrap();
        let minor = version["minor"].as_str().unwrap();
        minor.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
    }

    /// The audit log so far.
    pub(crate) fn audit_events(&self) -> Vec<Value> {
        let log = fs::read_to_string(self.dir.join("audit.log")).unwrap_or_default();
        // The last line may be half written.
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
";

/// Ports that are free now, held together so that they differ.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
