//! What 100,000 accounts cost, a third of them annotated, through the watch.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    process::Process,
    summary::{Line, Summary},
};

const ACCOUNTS: usize = 100_000;
const PAGE: usize = 500;

const STEADY_MEGABYTES: f64 = 32.0;
const PEAK_MEGABYTES: f64 = 48.0;
const CPU_SECONDS: f64 = 1.5;

/// How long after the list memory counts as steady: the allocator gives pages back with a delay.
const SETTLED: Duration = Duration::from_secs(5);

pub(crate) fn run(summary: &mut Summary, short: bool) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let address = runtime.block_on(serve(if short { PAGE } else { ACCOUNTS }));
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    fs::write(&kubeconfig, self::kubeconfig(address)).unwrap();
    let begun = Instant::now();
    let program = Process::start(
        Command::new(env!("CARGO_BIN_EXE_eks-pod-identity-webhook"))
            .args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--tls-self-signed"])
            .arg("--kubeconfig")
            .arg(&kubeconfig),
        "synced ServiceAccounts",
    );
    let (cpu, took) = (program.cpu().as_secs_f64(), begun.elapsed().as_secs_f64());
    thread::sleep(if short { Duration::ZERO } else { SETTLED });
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

/// An API server that lists so many accounts and then has no news.
async fn serve(accounts: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let pages: Arc<[Bytes]> = (0..accounts.div_ceil(PAGE)).map(|page| list(page, accounts)).collect();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let pages = Arc::clone(&pages);
            let service = service_fn(move |request| {
                let response = respond(&pages, &request);
                async { Ok::<_, Infallible>(response) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    address
}

fn respond(pages: &[Bytes], request: &Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
    let query = request.uri().query().unwrap_or_default();
    if query.contains("watch=true") {
        return Response::new(BodyExt::boxed(StreamBody::new(
            futures::stream::empty().chain(futures::stream::pending()),
        )));
    }
    let page = query.split('&').find_map(|pair| pair.strip_prefix("continue="));
    let page: usize = page.map_or(0, |page| page.parse().unwrap());
    Response::new(Full::new(pages[page].clone()).boxed())
}

fn list(page: usize, accounts: usize) -> Bytes {
    let next = if (page + 1) * PAGE < accounts { (page + 1).to_string() } else { String::new() };
    let items: Vec<_> = (page * PAGE..((page + 1) * PAGE).min(accounts)).map(account).collect();
    let list = json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "1", "continue": next},
        "items": items,
    });
    list.to_string().into()
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
