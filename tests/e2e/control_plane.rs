//! etcd and kube-apiserver on loopback, from the folder that `KUBEBUILDER_ASSETS` names.

use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64_simd::STANDARD;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::{
    api::Api,
    harness::Skipped,
    process::Process,
    support::pki::{Ca, Pair},
};

/// The folder of the binaries. Without it no test of this binary runs.
pub(crate) fn assets() -> Result<PathBuf, Skipped> {
    let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|path| !path.is_empty());
    assets
        .map(PathBuf::from)
        .ok_or_else(|| Skipped("needs KUBEBUILDER_ASSETS: see docs/testing.md".to_owned()))
}

/// A version of Kubernetes 1.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) minor: u32,
    /// As kube-apiserver prints it: `v1.36.2`.
    pub(crate) full: String,
}

impl Version {
    /// Whether WatchList is on: in 1.32, and since 1.34.
    pub(crate) fn streams_initial_events(&self) -> bool {
        matches!(self.minor, 32 | 34..)
    }

    /// Asks the kube-apiserver in a folder.
    pub(crate) fn of(assets: &Path) -> Self {
        let program = assets.join("kube-apiserver");
        let output = Command::new(&program).arg("--version").output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let text = String::from_utf8(output.stdout).unwrap();
        let full = text.trim().trim_start_matches("Kubernetes ").to_owned();
        let minor = full.split('.').nth(1).and_then(|minor| minor.parse().ok());
        Self { minor: minor.unwrap_or_else(|| panic!("not a version of Kubernetes 1: {text:?}")), full }
    }
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
    /// Further flags of the API server.
    flags: Vec<String>,
    etcd: Process,
    api_server: Option<Process>,
}

impl ControlPlane {
    /// Starts a control plane, which keeps its files in the folder called `name`.
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    /// Starts one whose API server has these flags, too.
    pub(crate) async fn start_with(name: &str, flags: &[String]) -> Self {
        let assets = assets().unwrap();
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
        let mut plane = Self { assets, dir, ports, ca, admin, flags: flags.to_vec(), etcd, api_server: None };
        plane.start_api_server().await;
        plane
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
        let args = args.iter().chain(&self.flags);
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

    /// The authority's certificate and the administrator's pair.
    #[allow(dead_code, reason = "benches/cluster uses it")]
    pub(crate) fn credentials(&self) -> (String, &Pair) {
        (self.ca.pem(), &self.admin)
    }

    #[allow(dead_code, reason = "benches/cluster uses it")]
    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    #[allow(dead_code, reason = "benches/cluster uses it")]
    pub(crate) fn api_server_pid(&self) -> u32 {
        self.api_server.as_ref().unwrap().pid()
    }

    pub(crate) fn version(&self) -> Version {
        Version::of(&self.assets)
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
