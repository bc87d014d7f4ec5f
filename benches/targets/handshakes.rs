//! A TLS handshake: CPU time of the server, beside rustls in a server that does nothing else.

use std::{io::Read, net::TcpStream, process::Command, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    floor,
    process::Process,
    summary::{Line, Summary},
};

/// Handshakes with each server.
const COUNT: u32 = 4_000;

/// How many times the floor's CPU time ours may be.
const TARGET: f64 = 1.15;

/// Measures handshakes of kube-apiserver's kind: TLS 1.3, without resumption, and a connection that ends without a request.
pub(crate) fn run(summary: &mut Summary, short: bool) {
    let ours = Process::start(
        Command::new(env!("CARGO_BIN_EXE_eks-pod-identity-webhook"))
            .args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--tls-self-signed"])
            .args(["--log-format=json", "--service-accounts", "deploy/examples/service-accounts.yaml"])
            .current_dir(env!("CARGO_MANIFEST_DIR")),
        r#""listen":""#,
    );
    let address = ours.ready.split('"').next().unwrap();
    let floor = floor::start(&floor::build(short), &["handshakes"]);
    let (tls, count) = (Arc::new(client()), if short { 20 } else { COUNT });
    let before = [floor.cpu(), ours.cpu()];
    for _ in 0..count {
        shake(&tls, &floor.ready);
        shake(&tls, address);
    }
    let [floor, ours] = [floor.cpu() - before[0], ours.cpu() - before[1]]
        .map(|cpu| cpu.as_secs_f64() * 1e6 / f64::from(count));
    let ratio = ours / floor;
    summary.line(Line {
        name: "TLS handshake over the floor's".to_owned(),
        figure: format!("{ratio:.2}× ({ours:.1} µs, floor {floor:.1} µs)"),
        target: format!("≤ {TARGET}×"),
        ok: ratio <= TARGET,
    });
}

/// Completes a handshake, and waits until the server has done so.
fn shake(tls: &Arc<ClientConfig>, address: &str) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let connection =
        ClientConnection::new(Arc::clone(tls), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream.conn.send_close_notify();
    stream.conn.complete_io(&mut stream.sock).ok();
    stream.sock.shutdown(std::net::Shutdown::Write).ok();
    // The server's end of the connection comes after its end of the handshake.
    stream.sock.read_to_end(&mut Vec::new()).ok();
}

fn client() -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().dangerous();
    let mut config = builder.with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// What the client verifies costs the server nothing.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
