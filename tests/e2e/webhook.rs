//! The program itself on a control plane: installed by the manifests of `deploy/kubernetes`, with the rights of their
//! ServiceAccount and no others, called by URL since no pod runs here.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use base64_simd::STANDARD;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    api::Api,
    control_plane::ControlPlane,
    manifests,
    process::Process,
    support::{eventually, metric, pki::Ca, server::plain_get},
};

/// Where the manifests put the program, and what they call its account.
pub(crate) const NAMESPACE: &str = "aws-pod-identity-webhook";
pub(crate) const ACCOUNT: &str = "eks-pod-identity-webhook";

/// A control plane with the program beside it.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    process: Option<Process>,
    admin: SocketAddr,
}

/// What a user applies who has read the README.
pub(crate) const DEFAULTS: &str = "deploy/kubernetes/self-managed/webhook.yaml";

/// The cluster of all tests that don't disturb each other, started by the first of them.
pub(crate) async fn shared() -> Option<&'static Cluster> {
    static SHARED: OnceCell<Option<Cluster>> = OnceCell::const_new();
    crate::control_plane::assets()?;
    SHARED.get_or_init(|| Cluster::start("shared")).await.as_ref()
}

impl Cluster {
    pub(crate) async fn start(name: &str) -> Option<Self> {
        Some(Self::install(ControlPlane::start(name).await?, DEFAULTS).await)
    }

    pub(crate) async fn install(plane: ControlPlane, manifests: &str) -> Self {
        let api = plane.api().await;
        let mut objects = manifests::read(manifests);
        let configuration = manifests::of_kind(&mut objects, "MutatingWebhookConfiguration").take();
        for object in objects.iter().filter(|object| !object.is_null()) {
            api.apply(object).await.unwrap_or_else(|error| panic!("{error}: {object}"));
        }

        let ca = Ca::new();
        ca.server(2).write(&webhook_dir(&plane.dir));
        let kubeconfig = plane.kubeconfig(&json!({"token": token(&api).await}));
        fs::write(plane.dir.join("webhook/kubeconfig"), kubeconfig.to_string()).unwrap();
        let (process, [webhook, admin]) = run(&plane.dir.join("webhook")).await;
        let cluster = Self { plane, process: Some(process), admin };
        cluster.is_ready().await;
        api.apply(&called_at(configuration, webhook, &ca)).await.unwrap();
        cluster.is_called(&api).await;
        cluster
    }

    pub(crate) async fn api(&self) -> Api {
        self.plane.api().await
    }

    /// A client with the program's own rights.
    pub(crate) async fn api_of_program(&self) -> Api {
        let token = token(&self.api().await).await;
        Api::new(self.plane.kubeconfig(&json!({"token": token}))).await
    }

    /// The value of one of the program's metrics.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let (_, exposition) = plain_get(self.admin, "/metrics").await;
        metric(&exposition, &format!("pod_identity_webhook_{series}"))
    }

    /// Ends the program without a word, as a crash would.
    pub(crate) fn kill_program(&mut self) {
        self.process = None;
    }

    fn last_words(&self) -> String {
        self.process.as_ref().map(Process::last_words).unwrap_or_default()
    }

    /// The user that the API server sees.
    pub(crate) fn user() -> String {
        format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
    }

    async fn is_ready(&self) {
        for _ in 0..1000 {
            if plain_get(self.admin, "/readyz").await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not ready after 20 s:\n{}", self.last_words());
    }

    /// The API server reads webhook configurations from a watch of its own: waits until it has seen this one.
    async fn is_called(&self, api: &Api) {
        api.create_namespace("probe").await;
        let pod = json!({
            "metadata": {"name": "probe"},
            "spec": {"serviceAccountName": "plain", "containers": [{"name": "app", "image": "app"}]},
        });
        for _ in 0..1000 {
            api.create("/api/v1/namespaces/probe/pods?dryRun=All", &pod).await.unwrap();
            if self.metric("connections_total").await > 0.0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not called within 20 s:\n{}", self.last_words());
    }
}

fn webhook_dir(plane: &Path) -> std::path::PathBuf {
    let dir = plane.join("webhook");
    fs::create_dir(&dir).unwrap();
    dir
}

/// A token of the program's account, as its pod would have one.
async fn token(api: &Api) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{ACCOUNT}/token");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    api.create(&path, &request).await.unwrap()["status"]["token"].clone()
}

/// Runs the program; returns it with the addresses that it listens on.
async fn run(dir: &Path) -> (Process, [SocketAddr; 2]) {
    let file = |name| dir.join(name).display().to_string();
    let args = [
        "serve".to_owned(),
        format!("--kubeconfig={}", file("kubeconfig")),
        format!("--tls-cert-file={}", file("tls.crt")),
        format!("--tls-key-file={}", file("tls.key")),
        "--listen=127.0.0.1:0".to_owned(),
        "--admin-listen=127.0.0.1:0".to_owned(),
        "--log-format=json".to_owned(),
    ];
    let program = Path::new(env!("CARGO_BIN_EXE_eks-pod-identity-webhook"));
    let process = Process::start(program, args, dir.with_extension("log"));
    let listening = || {
        let log = process.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["message"] == "listening")
    };
    eventually("the program listens", || listening().is_some()).await;
    let line = listening().unwrap();
    let addresses = ["listen", "admin_listen"].map(|key| line[key].as_str().unwrap().parse().unwrap());
    (process, addresses)
}

/// The manifests' webhook configuration, but for where the program is.
pub(crate) fn called_at(mut configuration: Value, address: SocketAddr, ca: &Ca) -> Value {
    for webhook in configuration["webhooks"].as_array_mut().unwrap() {
        let url = format!("https://localhost:{}/mutate", address.port());
        webhook["clientConfig"] = json!({"url": url, "caBundle": STANDARD.encode_to_string(ca.pem())});
    }
    configuration
}
