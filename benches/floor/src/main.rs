//! The floor: what any server built of hyper and rustls pays for a request, before it does anything with it. It reads
//! the body and answers a fixed one. With `handshakes` it answers nothing: it ends each connection after the handshake.

use std::{convert::Infallible, env, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, body::Incoming, header::CONTENT_TYPE, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{ServerConfig, crypto::ring};
use rustls_pki_types::PrivateKeyDer;
use tokio::{io::AsyncWriteExt, net::TcpListener, runtime::Runtime};
use tokio_rustls::TlsAcceptor;

/// The shortest answer that a webhook gives.
const ANSWER: &[u8] = br#"{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","response":{"uid":"43b6ad15-47ef-4488-9dfa-deeeb0687ebe","allowed":true}}"#;

fn main() {
    let handshakes_only = env::args().nth(1).is_some_and(|mode| mode == "handshakes");
    Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls()));
        eprintln!("floor listens at {}", listener.local_addr().unwrap());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                if handshakes_only {
                    stream.shutdown().await.ok();
                    return;
                }
                http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await.ok();
            });
        }
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    request.into_body().collect().await.ok();
    let response = Response::builder().header(CONTENT_TYPE, "application/json");
    Ok(response.body(Full::new(Bytes::from_static(ANSWER))).unwrap())
}

fn tls() -> ServerConfig {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(pair.signing_key.serialize_der()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(vec![pair.cert.der().clone()], key).unwrap();
    config.send_tls13_tickets = 0;
    config
}
