//! TLS as kube-apiserver speaks it to a webhook, with the trust that the flags give.

use std::{path::Path, sync::Arc};

use anyhow::{Context, bail};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    cli::CompareTlsArgs,
    commands::https::CA,
    server::Protocol,
    tls::{read_certificates, read_key},
};

const CLIENT_CERT: &str = "--client-cert-file: want a certificate chain in PEM:";
const CLIENT_KEY: &str = "--client-key-file: want a private key in PEM:";

/// Reads the files and makes a configuration of them. `authorities` are trusted where no flag says whom to trust.
pub(super) fn load(
    args: &CompareTlsArgs,
    protocol: Protocol,
    authorities: &[CertificateDer<'static>],
) -> anyhow::Result<ClientConfig> {
    let verifier = verifier(args.ca_file.as_deref(), args.insecure, authorities)?;
    let builder = ClientConfig::builder().dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match (&args.client_cert_file, &args.client_key_file) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(read_certificates(cert, CLIENT_CERT)?, read_key(key, CLIENT_KEY)?)
            .context("--client-cert-file, --client-key-file: they can't be used together")?,
        _ => bail!("--client-cert-file and --client-key-file need each other: give both or neither"),
    };
    let http2 = (protocol == Protocol::Http2).then(|| b"h2".to_vec());
    config.alpn_protocols = http2.into_iter().chain([b"http/1.1".to_vec()]).collect();
    // kube-apiserver never resumes a session.
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn verifier(
    ca_file: Option<&Path>,
    insecure: bool,
    authorities: &[CertificateDer<'static>],
) -> anyhow::Result<Arc<dyn ServerCertVerifier>> {
    let authorities = match (ca_file, insecure) {
        (Some(path), false) => &read_certificates(path, CA)?[..],
        (None, true) => return Ok(Arc::new(AnyCertificate::new())),
        (None, false) if !authorities.is_empty() => authorities,
        (None, false) => bail!(
            "no certificate can be trusted: give --ca-file with the webhooks' authorities, or --insecure to take any"
        ),
        (Some(_), true) => bail!("--ca-file and --insecure contradict each other: give one of them"),
    };
    let mut roots = RootCertStore::empty();
    let source = ca_file.map_or("the caBundle".to_owned(), |path| format!("--ca-file: {}", path.display()));
    for authority in authorities {
        roots.add(authority.clone()).with_context(|| format!("{source}: an authority that can't be used"))?;
    }
    Ok(WebPkiServerVerifier::builder(Arc::new(roots)).build().context(source)?)
}

/// Takes any certificate, as long as the server has its key.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl AnyCertificate {
    fn new() -> Self {
        Self(aws_lc_rs::default_provider().signature_verification_algorithms)
    }
}

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
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
