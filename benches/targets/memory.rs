//! What 100,000 accounts cost, a third of them annotated, through the watch.

use std::{
    convert::Infallible,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response,
    body::{Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    process::Process,
    summary::{Line, Summary},
};

const ACCOUNTS: usize = 100_000;

const STEADY_MEGABYTES: f64 = 32.0;
const PEAK_MEGABYTES: f64 = 48.0;
const CPU_SECONDS: f64 = 1.5;

/// For so many seconds after the list the program is probed and scraped as in a cluster, before its memory counts as
/// steady: the allocator gives pages back with a delay.
const PROBES: u32 = 5;

pub(crate) fn run(summary: &mut Summary, short: bool) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = runtime.block_on(serve(if short { 1000 } else { ACCOUNTS }));
    let admin = free_address();
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    fs::write(&kubeconfig, self::kubeconfig(address)).unwrap();
    let begun = Instant::now();
    let program = Process::start(
        Command::new(env!("CARGO_BIN_EXE_eks-pod-identity-webhook"))
            .args(["serve", "--listen=127.0.0.1:0", "--tls-self-signed"])
            .arg(format!("--admin-listen={admin}"))
            .arg("--kubeconfig")
            .arg(&kubeconfig),
        "synced ServiceAccounts",
    );
    let (cpu, took) = (program.cpu().as_secs_f64(), begun.elapsed().as_secs_f64());
    for _ in 0..if short { 1 } else { PROBES } {
        probe(admin);
        thread::sleep(Duration::from_secs(1));
    }
    let figures = [
        ("steady resident memory", program.megabytes("VmRSS"), STEADY_MEGABYTES, "MB"),
        ("peak resident memory", program.megabytes("VmHWM"), PEAK_MEGABYTES, "MB"),
        ("CPU until synced", cpu, CPU_SECONDS, "s"),
    ];
    for (what, figure, target, unit) in figures {
        summary.line(Line {
            name: format!("{what}, {ACCOUNTS} accounts by watch"),
            figure: format!("{figure:.2} {unit}"),
            target: format!("≤ {target} {unit}"),
            ok: figure <= target,
        });
    }
    summary
        .note("of it not the program's file".to_owned(), format!("{:.1} MB", program.megabytes("RssAnon")));
    summary.note("time until synced".to_owned(), format!("{took:.1} s"));
}

/// An address without a listener.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// What a kubelet and a Prometheus ask for.
fn probe(admin: SocketAddr) {
    for path in ["/livez", "/readyz", "/metrics"] {
        let mut stream = TcpStream::connect(admin).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
}

fn kubeconfig(server: SocketAddr) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "bench",
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        "clusters": [{"name": "bench", "cluster": {"server": format!("http://{server}")}}],
        "users": [{"name": "bench", "user": {}}],
    })
    .to_string()
}

/// An API server that has so many accounts, as a stream or in pages, and then no news.
async fn serve(accounts: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let accounts: Arc<[String]> = (0..accounts).map(|index| account(index).to_string()).collect();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let accounts = Arc::clone(&accounts);
            let service = service_fn(move |request| {
                let response = respond(&accounts, &request);
                async { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

fn respond(accounts: &[String], request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("watch=true") {
        let events =
            if query.contains("sendInitialEvents=true") { initial_events(accounts) } else { String::new() };
        let first = futures::stream::iter([Ok(Frame::data(Bytes::from(events)))]);
        return Response::new(BodyExt::boxed(StreamBody::new(first.chain(futures::stream::pending()))));
    }
    let parameter = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(key, _)| *key == name)?;
        (!value.is_empty()).then(|| value.parse::<usize>().unwrap())
    };
    let begin = parameter("continue").unwrap_or(0);
    let end = accounts.len().min(begin + parameter("limit").expect("it asks for pages"));
    let next = if end < accounts.len() { end.to_string() } else { String::new() };
    let page = format!(
        r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"1","continue":"{next}"}},"items":[{}]}}"#,
        accounts[begin..end].join(",")
    );
    Response::new(Full::new(Bytes::from(page)).boxed())
}

/// Every account as an event, and the bookmark that ends them.
fn initial_events(accounts: &[String]) -> String {
    let mut events = String::new();
    for account in accounts {
        events.extend([r#"{"type":"ADDED","object":"#, account, "}\n"]);
    }
    let end = json!({"type": "BOOKMARK", "object": {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {
            "resourceVersion": accounts.len().to_string(),
            "annotations": {"k8s.io/initial-events-end": "true"},
        },
    }});
    events + &end.to_string() + "\n"
}

/// The metadata of an account as Helm makes it, some 850 bytes of JSON.
fn account(index: usize) -> serde_json::Value {
    let (namespace, name) = (format!("team-{:05}", index / 4), format!("service-{}", index % 4));
    let mut annotations =
        json!({"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace});
    if index.is_multiple_of(3) {
        annotations["eks.amazonaws.com/role-arn"] =
            format!("arn:aws:iam::111122223333:role/{namespace}-{name}").into();
    }
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": format!("5c2b5a0e-3d0f-4a8e-9d7e-{index:012}"),
            "resourceVersion": index.to_string(),
            "creationTimestamp": "2026-11-23T18:25:57Z",
            "labels": {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": name, "helm.sh/chart": "service-1.2.3"},
            "annotations": annotations,
            "managedFields": [{
                "manager": "helm",
                "operation": "Update",
                "apiVersion": "v1",
                "time": "2026-11-23T18:25:57Z",
                "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {
                    "f:annotations": {".": {}, "f:meta.helm.sh/release-name": {}, "f:meta.helm.sh/release-namespace": {}},
                    "f:labels": {".": {}, "f:app.kubernetes.io/managed-by": {}, "f:helm.sh/chart": {}},
                }},
            }],
        },
    })
}
