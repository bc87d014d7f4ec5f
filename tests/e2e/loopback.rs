//! The program on the control plane: installed by the chart's `controlPlane.enabled`, called on loopback over HTTP/2, replaced
//! under load.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use base64_simd::STANDARD;
use serde_json::json;

use crate::{
    api::Api,
    certificates::{CONFIGURATION, Load, fail_closed},
    control_plane::{self, ControlPlane, Version},
    harness::{Outcome, Skipped, Test, tests},
    pods::{has_role, pod},
    process::Process,
    support::{manifests, metric, pki::Ca, server::plain_get},
    wait::{eventually, within},
    webhook::{ACCOUNT, token},
};

pub(crate) const TESTS: &[Test] = tests![
    pods_get_their_role_over_http2_and_none_is_refused_while_processes_take_over,
    a_configuration_in_a_file_calls_the_webhook
];

const MANIFESTS: &str = "tests/fixtures/rendered/control-plane.yaml";
const PROGRAM: &str = env!("CARGO_BIN_EXE_eks-pod-identity-webhook");

/// A control-plane node: what its pods of the DaemonSet have in common.
struct Node {
    plane: ControlPlane,
    args: Vec<String>,
    admin: SocketAddr,
}

/// The process of a pod.
struct Pod {
    process: Process,
    socket: PathBuf,
}

impl Node {
    /// Applies the chart's manifests, on ports that are free here.
    async fn install(plane: ControlPlane, [listen, admin]: [SocketAddr; 2]) -> Self {
        let api = plane.api().await;
        let mut objects = manifests::read(MANIFESTS);
        let entries = &mut manifests::of_kind(&mut objects, "MutatingWebhookConfiguration")["webhooks"];
        for entry in entries.as_array_mut().unwrap() {
            assert_eq!(entry["clientConfig"]["url"], "https://127.0.0.1:18443/mutate");
            entry["clientConfig"]["url"] = json!(format!("https://{listen}/mutate"));
        }
        for object in &objects {
            api.apply(object).await.unwrap_or_else(|error| panic!("{error}: {object}"));
        }
        let dir = plane.dir.join("webhook");
        fs::create_dir(&dir).unwrap();
        let kubeconfig = plane.kubeconfig(&json!({"token": token(&api, ACCOUNT).await}));
        fs::write(dir.join("kubeconfig"), kubeconfig.to_string()).unwrap();
        let rendered = manifests::args(manifests::of_kind(&mut objects, "DaemonSet"));
        let is_probe = |arg: &String| arg.starts_with("--probe-socket=");
        assert!(rendered.iter().any(is_probe));
        let mut args: Vec<_> = rendered.into_iter().filter(|arg| !is_probe(arg)).collect();
        args.extend([
            format!("--kubeconfig={}", dir.join("kubeconfig").display()),
            format!("--listen={listen}"),
            format!("--admin-listen={admin}"),
        ]);
        Self { plane, args, admin }
    }

    /// Starts a pod, and returns as the kubelet's startup probe does: when the pod is ready.
    async fn start(&self, name: &str) -> Pod {
        let dir = self.plane.dir.join("webhook");
        let socket = dir.join(name);
        let args = self.args.iter().cloned().chain([format!("--probe-socket={}", socket.display())]);
        let pod =
            Pod { process: Process::start(Path::new(PROGRAM), args, socket.with_extension("log")), socket };
        eventually("the pod is ready", async || pod.is_ready()).await;
        pod
    }

    async fn metric(&self, series: &str) -> f64 {
        let (_, exposition) = plain_get(self.admin, "/metrics").await;
        metric(&exposition, &format!("pod_identity_webhook_{series}"))
    }
}

impl Pod {
    /// By the command of the startup probe.
    fn is_ready(&self) -> bool {
        let socket = format!("--probe-socket={}", self.socket.display());
        Command::new(PROGRAM).args(["probe", &socket]).output().unwrap().status.success()
    }

    /// Ends it as the kubelet does, and waits for its end.
    async fn terminate(self) {
        self.process.signal("-TERM");
        within(Duration::from_secs(40), "the old pod ends", async || self.process.log().contains("drained"))
            .await;
        assert!(!self.process.log().contains("not drained"), "{}", self.process.last_words());
    }
}

async fn pods_get_their_role_over_http2_and_none_is_refused_while_processes_take_over() {
    let node = Node::install(ControlPlane::start("loopback").await, free_addresses()).await;
    let api = node.plane.api().await;
    api.create_namespace("loopback").await;
    let mut running = node.start("pod-0").await;
    fail_closed(&api).await;
    is_called(&api).await;
    assert!(node.metric(r#"http_requests_total{protocol="http2"}"#).await > 0.0);
    assert_eq!(node.metric(r#"http_requests_total{protocol="http1"}"#).await, 0.0);

    let load = Load::start(&api, "loopback");
    for name in ["pod-1", "pod-2", "pod-3"] {
        let new = node.start(name).await;
        let old = std::mem::replace(&mut running, new);
        old.terminate().await;
    }
    let created = load.all_created().await;
    eprintln!("3 handovers under load: {created} pods created, 0 failed");
    assert!(created > 100, "{created}");

    // The load would have noticed.
    drop(running);
    let error = api.create("/api/v1/namespaces/loopback/pods?dryRun=All", &pod("refused")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("failed calling webhook"), "{error}");
}

async fn a_configuration_in_a_file_calls_the_webhook() -> Outcome {
    let version = Version::of(&control_plane::assets()?);
    if version.minor < 36 {
        return Err(Skipped(format!(
            "Kubernetes 1.{} does not read admission configurations from files",
            version.minor
        )));
    }
    let (ca, dir, [listen, admin]) = (Ca::new(), tempfile::tempdir().unwrap(), free_addresses());
    ca.server_of(&["127.0.0.1"]).write(dir.path());
    let flags = static_configuration(dir.path(), listen, &ca.pem());
    let plane = ControlPlane::start_with("static-configuration", &flags).await;
    let mut node = Node::install(plane, [listen, admin]).await;
    node.args.retain(|arg| !arg.starts_with("--tls-") && !arg.starts_with("--webhook-configuration-name="));
    let file = |name| dir.path().join(name).display().to_string();
    node.args.extend([
        format!("--tls-cert-file={}", file("tls.crt")),
        format!("--tls-key-file={}", file("tls.key")),
    ]);
    let api = node.plane.api().await;
    api.delete(CONFIGURATION).await.unwrap();
    api.create_namespace("loopback").await;
    let running = node.start("pod").await;
    is_called(&api).await;
    let listed = api.get(CONFIGURATION.rsplit_once('/').unwrap().0).await.unwrap();
    assert_eq!(listed["items"], json!([]), "it can't be seen or deleted through the API");

    drop(running);
    let error = api.create("/api/v1/namespaces/loopback/pods?dryRun=All", &pod("refused")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("failed calling webhook"), "{error}");
    Ok(())
}

/// Writes the files that docs/operate/control-plane.md shows, and returns the API server's flags.
fn static_configuration(dir: &Path, listen: SocketAddr, ca: &str) -> [String; 2] {
    let mut objects = manifests::read(MANIFESTS);
    let configuration = manifests::of_kind(&mut objects, "MutatingWebhookConfiguration");
    configuration["metadata"] = json!({"name": "eks-pod-identity-webhook.static.k8s.io"});
    for entry in configuration["webhooks"].as_array_mut().unwrap() {
        entry["failurePolicy"] = json!("Fail");
        entry["clientConfig"] =
            json!({"url": format!("https://{listen}/mutate"), "caBundle": STANDARD.encode_to_string(ca)});
    }
    let webhooks = dir.join("webhooks");
    fs::create_dir(&webhooks).unwrap();
    fs::write(webhooks.join("webhook.json"), configuration.to_string()).unwrap();
    let admission = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{
            "name": "MutatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": "",
                "staticManifestsDir": webhooks,
            },
        }],
    });
    let file = dir.join("admission.json");
    fs::write(&file, admission.to_string()).unwrap();
    [
        "--feature-gates=ManifestBasedAdmissionControlConfig=true".to_owned(),
        format!("--admission-control-config-file={}", file.display()),
    ]
}

/// Waits until the API server has read the webhook configuration and its `caBundle`.
async fn is_called(api: &Api) {
    eventually("pods have their role", async || {
        let created = api.create("/api/v1/namespaces/loopback/pods?dryRun=All", &pod("probe")).await;
        created.is_ok_and(|created| has_role(&created))
    })
    .await;
}

fn free_addresses() -> [SocketAddr; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap())
}
