//! The certificate: where it comes from and how a new one is taken into use.
//!
//! A pair is checked as a whole before it is published, so a broken one never replaces a good one. Connections borrow
//! the newest configuration at their handshake; those that are open are not touched.

pub mod self_managed;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use thiserror::Error;
use tracing::{info, warn};

use crate::{
    files::{self, Fingerprint},
    metrics::TlsMetrics,
};

/// The files of a certificate.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// The chain, leaf first, in PEM.
    pub cert: PathBuf,
    /// The key in PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// Requirements on clients.
    pub clients: Clients,
}

/// What is required of clients, and offered to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clients {
    /// The authorities one of which must have signed their certificate, if they need one.
    pub ca: Option<PathBuf>,
    /// The oldest version that they may speak.
    pub min_version: TlsVersion,
    /// Whether they are offered HTTP/2.
    pub http2: bool,
}

/// A version of TLS that is spoken here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2 (RFC 5246)
    #[default]
    Tls12,
    /// 1.3 (RFC 8446)
    Tls13,
}

impl TlsVersion {
    /// This version and those that came after it.
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
        match self {
            Self::Tls12 => &BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// Why a certificate can't be used.
#[derive(Debug, Error)]
pub enum BadCertificate {
    /// A file can't be read, or is not the PEM it should be.
    #[error("{what} {path}: {error}", path = path.display())]
    Pem {
        /// The flag that names the file, and what the file should hold.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: rustls_pki_types::pem::Error,
    },
    /// The leaf is not an X.509 certificate.
    #[error("--tls-cert-file: the first certificate is not an X.509 certificate: {0}")]
    X509(String),
    /// The certificate and the key don't belong together, or are of an unknown kind.
    #[error("--tls-cert-file, --tls-key-file: certificate and key can't be used together: {0}")]
    Pair(rustls::Error),
    /// Client certificates can't be checked against the authorities.
    #[error("--tls-client-ca-file: client certificates can't be checked: {0}")]
    ClientCa(String),
    /// A name that no certificate can carry.
    #[error("--tls-san: a certificate can't be made for these names: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

const CERT: &str =
    "--tls-cert-file: want a certificate chain in PEM (or give --tls-self-signed to try things out):";
const KEY: &str = "--tls-key-file: want a private key in PEM:";
const CLIENT_CA: &str = "--tls-client-ca-file: want certificates in PEM:";

/// A checked certificate, ready to be served.
#[derive(Debug)]
pub struct Loaded {
    /// For handshakes.
    pub config: Arc<ServerConfig>,
    /// When the leaf expires, in seconds since the epoch.
    pub expires: i64,
}

impl CertificateFiles {
    /// Reads and checks the files.
    pub fn load(&self) -> Result<Loaded, BadCertificate> {
        let chain = read_certificates(&self.cert, CERT)?;
        let key = read_key(&self.key, KEY)?;
        build(chain, key, &self.clients)
    }

    fn paths(&self) -> Vec<PathBuf> {
        [&self.cert, &self.key].into_iter().chain(&self.clients.ca).cloned().collect()
    }
}

/// A certificate of its own making, for trying things out.
pub fn self_signed(names: &[String], clients: &Clients) -> Result<Loaded, BadCertificate> {
    let made = rcgen::generate_simple_self_signed(names)?;
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    build(vec![made.cert.der().clone()], key, clients)
}

/// A configuration without a certificate: handshakes fail.
pub fn without_certificate() -> Arc<ServerConfig> {
    #[derive(Debug)]
    struct NoCertificate;
    impl ResolvesServerCert for NoCertificate {
        fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
            None
        }
    }
    let versions = TlsVersion::Tls12.and_newer();
    let builder = ServerConfig::builder_with_protocol_versions(versions).with_no_client_auth();
    Arc::new(builder.with_cert_resolver(Arc::new(NoCertificate)))
}

/// A certificate whose key is in PEM.
pub fn from_pem(
    leaf: CertificateDer<'static>,
    key: &str,
    clients: &Clients,
) -> Result<Loaded, BadCertificate> {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
    build(vec![leaf], key.map_err(|error| BadCertificate::X509(error.to_string()))?, clients)
}

/// Certificate files that are read again when they change.
#[derive(Debug)]
pub struct Reloader {
    files: CertificateFiles,
    fingerprint: Fingerprint,
    current: Arc<ArcSwap<ServerConfig>>,
    metrics: TlsMetrics,
}

impl Reloader {
    /// Loads the files for the first time.
    pub fn open(files: CertificateFiles, metrics: TlsMetrics) -> Result<Self, BadCertificate> {
        let fingerprint = Fingerprint::of(files.paths());
        let loaded = files.load()?;
        announce(&loaded, &metrics, "certificate loaded");
        Ok(Self { files, fingerprint, current: Arc::new(ArcSwap::new(loaded.config)), metrics })
    }

    /// The newest configuration.
    pub fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        Arc::clone(&self.current)
    }

    /// Follows changes, looking every `interval`.
    pub async fn follow(mut self, interval: Duration) {
        loop {
            files::changed(&mut self.fingerprint, || self.files.paths(), interval).await;
            match self.files.load() {
                Ok(loaded) => {
                    announce(&loaded, &self.metrics, "certificate reloaded");
                    self.metrics.reloads_ok.inc();
                    self.metrics.reload_successful.set(1);
                    self.current.store(loaded.config);
                }
                Err(error) => {
                    self.metrics.reloads_failed.inc();
                    self.metrics.reload_successful.set(0);
                    warn!(%error, "certificate files changed but can't be used; the old certificate stays");
                }
            }
        }
    }
}

/// Logs a certificate that is taken into use, and publishes when it expires.
pub fn announce(loaded: &Loaded, metrics: &TlsMetrics, message: &'static str) {
    metrics.certificate_expiry.set(loaded.expires as f64);
    let expires = humantime::format_rfc3339_seconds(
        std::time::UNIX_EPOCH + Duration::from_secs(loaded.expires.max(0).unsigned_abs()),
    );
    info!(%expires, "{message}");
}

/// The certificates of a PEM file, one at least. `what` names the flag and says what the file should hold.
pub(crate) fn read_certificates(
    path: &Path,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, BadCertificate> {
    use rustls_pki_types::pem::Error;
    let bad = |error| BadCertificate::Pem { what, path: path.into(), error };
    let pem = fs::read(path).map_err(|error| bad(Error::Io(error)))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(bad)?;
    if certificates.is_empty() { Err(bad(Error::NoItemsFound)) } else { Ok(certificates) }
}

/// The private key of a PEM file; `what` as for certificates.
pub(crate) fn read_key(path: &Path, what: &'static str) -> Result<PrivateKeyDer<'static>, BadCertificate> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| BadCertificate::Pem { what, path: path.into(), error })
}

fn build(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    clients: &Clients,
) -> Result<Loaded, BadCertificate> {
    let authorities = clients.ca.as_deref().map(|path| read_certificates(path, CLIENT_CA)).transpose()?;
    let expires = expiry(&chain[0])?;
    let builder = ServerConfig::builder_with_protocol_versions(clients.min_version.and_newer());
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority).map_err(|error| BadCertificate::ClientCa(error.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| BadCertificate::ClientCa(error.to_string()))?,
            )
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(BadCertificate::Pair)?;
    let http2 = clients.http2.then(|| b"h2".to_vec());
    config.alpn_protocols = http2.into_iter().chain([b"http/1.1".to_vec()]).collect();
    // kube-apiserver never resumes a session: keeping them would be work for nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Loaded { config: Arc::new(config), expires })
}

fn expiry(leaf: &CertificateDer<'_>) -> Result<i64, BadCertificate> {
    let (_, certificate) =
        x509_parser::parse_x509_certificate(leaf).map_err(|error| BadCertificate::X509(error.to_string()))?;
    Ok(certificate.validity().not_after.timestamp())
}
