//! What was typed → what `serve` runs on.

use std::{fmt, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    cli::{LimitArgs, RecordArgs, ServeArgs, SourceArgs, TlsArgs},
    recording::Folder,
    server::{Timeouts, mutate::RequestLimits, tls::CertificateFiles},
    settings::Settings,
};

/// A complete configuration.
#[derive(Debug)]
pub struct Config {
    /// Where accounts come from.
    pub source: Source,
    /// What is injected.
    pub settings: Arc<Settings>,
    /// The webhook's address.
    pub listen: SocketAddr,
    /// The address of probes and metrics.
    pub admin_listen: SocketAddr,
    /// The certificate.
    pub certificate: Certificate,
    /// How often files are looked at.
    pub reload_interval: Duration,
    /// The most connections.
    pub max_connections: usize,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// Limits of a request.
    pub requests: RequestLimits,
    /// Where answered requests are recorded, if they are.
    pub record: Option<Folder>,
    /// How long requests are still taken after SIGTERM.
    pub drain_delay: Duration,
    /// How long requests in flight may then take.
    pub drain_timeout: Duration,
}

/// Where accounts come from.
#[derive(Debug)]
pub enum Source {
    /// A file or folder.
    Manifests(PathBuf),
    /// The cluster this process runs in.
    InCluster,
    /// The cluster of a kubeconfig.
    Kubeconfig {
        /// Files as in `KUBECONFIG`: several, parted by `:`; none for the default one.
        files: Vec<PathBuf>,
        /// A context other than the current one.
        context: Option<String>,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifests(path) => write!(f, "manifests {}", path.display()),
            Self::InCluster => f.write_str("cluster"),
            Self::Kubeconfig { files, context } => {
                write!(f, "kubeconfig")?;
                files.iter().try_for_each(|file| write!(f, " {}", file.display()))?;
                context.iter().try_for_each(|context| write!(f, ", context {context}"))
            }
        }
    }
}

/// Where the certificate comes from.
#[derive(Debug)]
pub enum Certificate {
    /// Files, read again when they change.
    Files(CertificateFiles),
    /// One of our own making.
    SelfSigned {
        /// Its names.
        names: Vec<String>,
        /// Who must have signed the client's certificate.
        client_ca: Option<PathBuf>,
    },
}

impl From<ServeArgs> for Config {
    fn from(args: ServeArgs) -> Self {
        let LimitArgs { drain_delay, drain_timeout, max_connections, .. } = args.limits;
        let mut config = Self {
            reload_interval: args.source.reload_interval,
            source: args.source.into(),
            settings: Arc::new(args.injection.into_settings()),
            listen: args.listen.listen,
            admin_listen: args.listen.admin_listen,
            certificate: args.tls.into(),
            max_connections,
            timeouts: Timeouts {
                handshake: args.limits.tls_handshake_timeout,
                header: args.limits.header_timeout,
                idle: args.limits.idle_timeout,
            },
            requests: RequestLimits {
                body_bytes: args.limits.max_body_bytes,
                body_time: args.limits.body_timeout,
                lookup_grace: args.limits.lookup_grace,
                waits: 0,
                memory: args.limits.max_request_memory,
            },
            record: args.record.into_folder(),
            drain_delay,
            drain_timeout,
        };
        config.limit_connections(max_connections);
        config
    }
}

impl Config {
    /// Allows so many connections. Half of them may wait for unknown accounts, so that there are always others for pods
    /// whose accounts are known.
    pub fn limit_connections(&mut self, most: usize) {
        self.max_connections = most;
        self.requests.waits = most.div_ceil(2);
    }
}

impl RecordArgs {
    fn into_folder(self) -> Option<Folder> {
        let path = self.record.filter(|path| path != "")?;
        Some(Folder { path, max_files: self.record_max_files, max_bytes: self.record_max_bytes })
    }
}

impl From<SourceArgs> for Source {
    /// `KUBECONFIG` is set on many a developer's machine, so manifests, which have to be asked for, come first.
    fn from(args: SourceArgs) -> Self {
        let files = |path: &PathBuf| std::env::split_paths(path).filter(|path| path != "").collect();
        let files: Vec<PathBuf> = args.kubeconfig.as_ref().map(files).unwrap_or_default();
        let context = args.context.filter(|context| !context.is_empty());
        match args.service_accounts.filter(|path| path != "") {
            Some(path) => Self::Manifests(path),
            None if files.is_empty() && context.is_none() => Self::InCluster,
            None => Self::Kubeconfig { files, context },
        }
    }
}

impl From<TlsArgs> for Certificate {
    fn from(args: TlsArgs) -> Self {
        let client_ca = args.tls_client_ca_file.filter(|path| path != "");
        if args.tls_self_signed {
            Self::SelfSigned { names: args.tls_san, client_ca }
        } else {
            Self::Files(CertificateFiles { cert: args.tls_cert_file, key: args.tls_key_file, client_ca })
        }
    }
}
