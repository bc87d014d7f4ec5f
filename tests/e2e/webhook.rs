//! The program itself on a control plane: installed by the manifests of `deploy/kubernetes`, with the arguments of their
//! Deployment and the rights of their ServiceAccount and no others. No pod runs here: a Service of type ExternalName leads
//! to loopback, by the name that the certificate is for.

use std::{env, fs, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    api::Api,
    control_plane::ControlPlane,
    process::Process,
    support::{manifests, metric, server::plain_get},
    wait::eventually,
};

/// Where the manifests put the program, and what they call its account.
pub(crate) const NAMESPACE: &str = "aws-pod-identity-webhook";
pub(crate) const ACCOUNT: &str = "eks-pod-identity-webhook";

/// A control plane with the program beside it.
pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    /// The Deployment's arguments, but for addresses.
    args: Vec<String>,
    pub(crate) replicas: Vec<Replica>,
}

/// A process of the program.
pub(crate) struct Replica {
    process: Process,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

/// What a user applies who has read the README.
pub(crate) const DEFAULTS: &str = "deploy/kubernetes/self-managed/webhook.yaml";

/// The cluster of all tests that don't disturb each other, started by the first of them.
pub(crate) async fn shared() -> &'static Cluster {
    static SHARED: OnceCell<Cluster> = OnceCell::const_new();
    SHARED.get_or_init(|| Cluster::start("shared")).await
}

impl Cluster {
    pub(crate) async fn start(name: &str) -> Self {
        Self::install(ControlPlane::start(name).await, DEFAULTS).await
    }

    pub(crate) async fn install(plane: ControlPlane, manifests: &str) -> Self {
        Self::install_replicas(plane, manifests, 1, &[]).await
    }

    /// Installs what the manifests hold, but for as many replicas, with further arguments.
    pub(crate) async fn install_replicas(
        plane: ControlPlane,
        manifests: &str,
        replicas: usize,
        args: &[&str],
    ) -> Self {
        let api = plane.api().await;
        let mut objects = manifests::read(manifests);
        let service = manifests::of_kind(&mut objects, "Service");
        service["spec"]["type"] = json!("ExternalName");
        service["spec"]["externalName"] = json!("localhost");
        for object in &objects {
            api.apply(object).await.unwrap_or_else(|error| panic!("{error}: {object}"));
        }

        fs::create_dir(plane.dir.join("webhook")).unwrap();
        let kubeconfig = plane.kubeconfig(&json!({"token": token(&api, ACCOUNT).await}));
        fs::write(plane.dir.join("webhook/kubeconfig"), kubeconfig.to_string()).unwrap();
        let mut rendered = manifests::args(manifests::of_kind(&mut objects, "Deployment"));
        rendered.extend(args.iter().map(|&arg| arg.to_owned()));
        let mut cluster = Self { plane, args: rendered, replicas: Vec::new() };
        for index in 0..replicas {
            let replica = cluster.run(&format!("replica-{index}")).await;
            cluster.replicas.push(replica);
        }
        let configuration = manifests::of_kind(&mut objects, "MutatingWebhookConfiguration");
        cluster.call_each_replica(configuration);
        api.apply(configuration).await.unwrap();
        for replica in &cluster.replicas {
            replica.is_ready().await;
        }
        cluster.is_called(&api).await;
        cluster
    }

    pub(crate) async fn api(&self) -> Api {
        self.plane.api().await
    }

    /// A client with the program's own rights.
    pub(crate) async fn api_of_program(&self) -> Api {
        let token = token(&self.api().await, ACCOUNT).await;
        Api::new(self.plane.kubeconfig(&json!({"token": token}))).await
    }

    /// The value of one of the program's metrics.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        self.replicas[0].metric(series).await
    }

    /// Ends the program without a word, as a crash would.
    pub(crate) fn kill_program(&mut self) {
        self.replicas.clear();
    }

    /// The user that the API server sees.
    pub(crate) fn user() -> String {
        format!("system:serviceaccount:{NAMESPACE}:{ACCOUNT}")
    }

    /// Runs the program, and returns once it listens.
    pub(crate) async fn run(&self, name: &str) -> Replica {
        let dir = self.plane.dir.join("webhook");
        let args = self.args.iter().cloned().chain([
            format!("--kubeconfig={}", dir.join("kubeconfig").display()),
            "--listen=127.0.0.1:0".to_owned(),
            "--admin-listen=127.0.0.1:0".to_owned(),
            "--log-format=json".to_owned(),
        ]);
        // A release build, for figures.
        let program = env::var_os("E2E_PROGRAM").map(PathBuf::from);
        let program =
            program.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_eks-pod-identity-webhook")));
        let process = Process::start(&program, args, dir.join(name).with_extension("log"));
        let listening = || {
            let log = process.log();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.find(|line| line["message"] == "listening")
        };
        eventually("the program listens", async || listening().is_some()).await;
        let line = listening().unwrap();
        let [address, admin] =
            ["listen", "admin_listen"].map(|key| line[key].as_str().unwrap().parse().unwrap());
        Replica { process, address, admin }
    }

    /// Gives each replica an entry of its own, so that each of them is asked about every pod.
    fn call_each_replica(&self, configuration: &mut Value) {
        let entries = configuration["webhooks"].take();
        let calls = self.replicas.iter().enumerate().flat_map(|(index, replica)| {
            entries.as_array().unwrap().iter().map(move |entry| {
                let mut entry = entry.clone();
                entry["clientConfig"]["service"]["port"] = json!(replica.address.port());
                if index > 0 {
                    entry["name"] = json!(format!("replica-{index}.{}", entry["name"].as_str().unwrap()));
                }
                entry
            })
        });
        configuration["webhooks"] = calls.collect();
    }

    /// The API server reads webhook configurations from a watch of its own: waits until it has seen this one.
    async fn is_called(&self, api: &Api) {
        api.create_namespace("probe").await;
        let pod = json!({
            "metadata": {"name": "probe"},
            "spec": {"serviceAccountName": "plain", "containers": [{"name": "app", "image": "app"}]},
        });
        for replica in &self.replicas {
            eventually("each replica is asked", async || {
                api.create("/api/v1/namespaces/probe/pods?dryRun=All", &pod).await.unwrap();
                replica.metric(r#"http_responses_total{code="200"}"#).await > 0.0
            })
            .await;
        }
    }
}

impl Replica {
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        self.process_metric(&format!("pod_identity_webhook_{series}")).await
    }

    /// A metric that is not of the program alone, by its whole name.
    pub(crate) async fn process_metric(&self, series: &str) -> f64 {
        let (_, exposition) = plain_get(self.admin, "/metrics").await;
        metric(&exposition, series)
    }

    /// Stops the process until [`Self::resume`].
    pub(crate) fn pause(&self) {
        self.process.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.process.signal("-CONT");
    }

    /// Status and text of the readiness probe.
    pub(crate) async fn readyz(&self) -> (u16, String) {
        plain_get(self.admin, "/readyz").await
    }

    pub(crate) async fn is_ready(&self) {
        for _ in 0..1000 {
            if self.readyz().await.0 == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not ready after 20 s:\n{}", self.process.last_words());
    }
}

/// A token of an account of the program's namespace, as its pod would have one.
pub(crate) async fn token(api: &Api, account: &str) -> Value {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{account}/token");
    let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    api.create(&path, &request).await.unwrap()["status"]["token"].clone()
}
