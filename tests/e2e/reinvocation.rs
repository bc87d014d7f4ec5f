//! Another webhook, called after us, adds a container.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use base64_simd::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    harness::{Test, tests},
    identity,
    pods::pod,
    support::{manifests, pki::Ca},
    webhook::shared,
};

pub(crate) const TESTS: &[Test] = tests![a_sidecar_that_a_later_webhook_adds_has_the_identity_too];

async fn a_sidecar_that_a_later_webhook_adds_has_the_identity_too() {
    let cluster = shared().await;
    let api = cluster.api().await;
    api.create_namespace("reinvocation").await;
    let ca = Ca::new();
    let address = serve_sidecars(&ca).await;
    api.apply(&configuration(address, &ca)).await.unwrap();

    let pods = "/api/v1/namespaces/reinvocation/pods";
    let (mut both, mut tries) = (identity::given("meshed", &["app", "sidecar"]), 0);
    // Pods have a sidecar once the API server has seen the second webhook.
    let stored = loop {
        let mut pod = pod("meshed");
        pod["metadata"]["labels"] = json!({"sidecar": "yes"});
        let stored = api.create(&format!("{pods}?dryRun=All"), &pod).await.unwrap();
        tries += 1;
        if stored["spec"]["containers"][1]["name"] == "sidecar" || tries == 1000 {
            break stored;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    // What the sidecar brought of its own stays.
    both["containers"]["sidecar"]["AWS_ROLE_ARN"] = json!("the sidecar's own");
    assert_eq!(identity::of(&stored), both);
}

/// The configuration of a webhook whose name puts it behind ours, for pods with a label.
fn configuration(address: SocketAddr, ca: &Ca) -> Value {
    let mut objects = manifests::read("deploy/kubernetes/self-managed/webhook.yaml");
    let mut configuration = manifests::of_kind(&mut objects, "MutatingWebhookConfiguration").take();
    configuration["metadata"] = json!({"name": "zz-sidecars"});
    let webhook = &mut configuration["webhooks"][0];
    let url = format!("https://localhost:{}/mutate", address.port());
    webhook["clientConfig"] = json!({"url": url, "caBundle": STANDARD.encode_to_string(ca.pem())});
    webhook["name"] = json!("sidecars.example.com");
    webhook["objectSelector"] = json!({"matchLabels": {"sidecar": "yes"}});
    webhook["reinvocationPolicy"] = json!("Never");
    configuration
}

/// A webhook that adds a container to every pod that it is asked about.
async fn serve_sidecars(ca: &Ca) -> SocketAddr {
    let pair = ca.server(3);
    let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let config =
        rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![cert], key).unwrap();
    let tls = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tls = tls.clone();
            tokio::spawn(async move {
                let Ok(stream) = tls.accept(stream).await else { return };
                let service = service_fn(add_sidecar);
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await.ok();
            });
        }
    });
    address
}

async fn add_sidecar(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let env = json!([{"name": "AWS_ROLE_ARN", "value": "the sidecar's own"}]);
    let container = json!({"name": "sidecar", "image": "sidecar", "env": env});
    let patch = json!([{"op": "add", "path": "/spec/containers/-", "value": container}]);
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {
            "uid": review["request"]["uid"],
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": STANDARD.encode_to_string(patch.to_string()),
        },
    });
    let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    Ok(response)
}
