//! Makes the configuration of `serve` from its flags.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use thiserror::Error;

use super::{
    ClusterArgs, FlagInUse, Http2, LimitArgs, RecordArgs, SelfManagedArgs, ServeArgs, SourceArgs, TlsArgs,
};
use crate::{
    accounts::assignments::role_policy::PermittedByDefault,
    injection::settings::Settings,
    recording::Folder,
    server::{Timeouts, mutate::RequestLimits},
    tls::{
        CertificateFiles, Clients,
        self_managed::{controller::ControllerConfig, policy::Policy},
    },
};

/// The most threads that are started unless asked for.
const MAX_DEFAULT_THREADS: usize = 8;

/// A complete configuration.
#[derive(Debug)]
pub struct Config {
    /// Where accounts come from.
    pub source: Source,
    /// The namespace of the ConfigMap of roles, if that is watched.
    pub config_map: Option<Namespace>,
    /// Which roles of it a namespace may use that does not say it, if that is restricted.
    pub role_policy: Option<PermittedByDefault>,
    /// The file of the accounts with container credentials, if there is one.
    pub container_credentials: Option<PathBuf>,
    /// The settings of the injection.
    pub settings: Arc<Settings>,
    /// The webhook's address.
    pub listen: SocketAddr,
    /// The address of probes and metrics.
    pub admin_listen: SocketAddr,
    /// The certificate.
    pub certificate: Certificate,
    /// The Unix socket of `probe`.
    pub probe_socket: Option<PathBuf>,
    /// Whether other processes may listen on the same ports.
    pub is_port_shared: bool,
    /// How often files are looked at.
    pub reload_interval: Duration,
    /// The most connections.
    pub max_connections: usize,
    /// How long peers may take.
    pub timeouts: Timeouts,
    /// Limits of a request.
    pub requests: RequestLimits,
    /// Every flag as it is in use, if the debug endpoints are to show it.
    pub debug: Option<Vec<FlagInUse>>,
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
        /// Files as in `KUBECONFIG`: several, separated by `:`; none for the default one.
        files: Vec<PathBuf>,
        /// A context other than the current one.
        context: Option<String>,
        /// An API server other than the context's.
        server: Option<String>,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifests(path) => write!(f, "manifests {}", path.display()),
            Self::InCluster => f.write_str("cluster"),
            Self::Kubeconfig { files, context, server } => {
                write!(f, "kubeconfig")?;
                files.iter().try_for_each(|file| write!(f, " {}", file.display()))?;
                context.iter().try_for_each(|context| write!(f, ", context {context}"))?;
                server.iter().try_for_each(|server| write!(f, ", server {server}"))
            }
        }
    }
}

/// The namespace that the program's own objects are in.
#[derive(Clone, Debug)]
pub struct Namespace(Option<String>);

impl Namespace {
    /// That of the cluster, unless another one was typed.
    pub fn or<'a>(&'a self, default: &'a str) -> &'a str {
        self.0.as_deref().unwrap_or(default)
    }
}

/// Where the certificate comes from.
#[derive(Debug)]
pub enum Certificate {
    /// Files, read again when they change.
    Files(CertificateFiles),
    /// One of our own authority, kept in the cluster.
    SelfManaged(SelfManaged),
    /// One of our own making.
    SelfSigned {
        /// Its names.
        names: Vec<String>,
        /// Requirements on clients.
        clients: Clients,
    },
}

/// A certificate of our own authority.
#[derive(Debug)]
pub struct SelfManaged {
    args: SelfManagedArgs,
    clients: Clients,
}

impl SelfManaged {
    /// The controller's configuration, for this namespace unless a flag names another one.
    pub fn in_namespace(&self, default: &str) -> ControllerConfig {
        let args = &self.args;
        let namespace = Namespace(args.namespace.clone());
        let namespace = namespace.or(default);
        let service = Policy::names(&args.tls_service_name, namespace, &args.tls_cluster_domain);
        ControllerConfig {
            namespace: namespace.to_owned(),
            secret: args.tls_secret_name.clone(),
            configuration: args.webhook_configuration_name.clone(),
            policy: Policy {
                names: args.tls_server_name.iter().cloned().chain(service).collect(),
                authority_validity: args.tls_ca_validity,
                leaf_validity: args.tls_leaf_validity,
                overlap: args.tls_rotation_overlap,
                jitter: fastrand::f64(),
            },
            clients: self.clients.clone(),
        }
    }
}

/// Flags that are right each for itself and wrong together.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Contradiction {
    /// Two certificates.
    #[error("--tls-self-managed and --tls-self-signed contradict each other: give one of them")]
    TwoCertificates,
    /// A certificate that is kept in a cluster, without a cluster.
    #[error(
        "--tls-self-managed keeps its certificate in a cluster, and --service-accounts is for running without one: \
         leave one of them out, or give --tls-self-signed instead"
    )]
    NoCluster,
    /// A policy without roles that it could apply to.
    #[error(
        "--role-policy applies to the roles of the ConfigMap in a cluster: give --watch-config-map as well, and not \
         --service-accounts"
    )]
    NoMappingForPolicy,
    /// Certificates that would expire before they can be replaced.
    #[error(
        "--tls-leaf-validity can be at most a third of --tls-ca-validity, and --tls-rotation-overlap at most a quarter \
         of --tls-leaf-validity: certificates would expire before they are replaced"
    )]
    Validities,
}

impl TryFrom<ServeArgs> for Config {
    type Error = Contradiction;

    fn try_from(args: ServeArgs) -> Result<Self, Contradiction> {
        let LimitArgs { drain_delay, drain_timeout, max_connections, .. } = args.limits;
        let reload_interval = args.source.reload_interval;
        let watch_config_map = args.source.watch_config_map;
        let config_map = watch_config_map.then(|| Namespace(args.tls.self_managed.namespace.clone()));
        let role_policy = args.source.role_policy.clone();
        if role_policy.is_some() && (config_map.is_none() || args.source.service_accounts.is_some()) {
            return Err(Contradiction::NoMappingForPolicy);
        }
        let http2 = args.listen.http2.is_offered_at(args.listen.listen.ip());
        let (source, certificate) = (Source::from(args.source), Certificate::of(args.tls, http2)?);
        if matches!((&source, &certificate), (Source::Manifests(_), Certificate::SelfManaged(_))) {
            return Err(Contradiction::NoCluster);
        }
        let mut config = Self {
            reload_interval,
            source,
            config_map,
            role_policy,
            container_credentials: args.injection.container.file().map(Into::into),
            settings: Arc::new(args.injection.into_settings()),
            listen: args.listen.listen,
            probe_socket: args.listen.probe_socket,
            is_port_shared: args.listen.reuse_port,
            admin_listen: args.listen.admin_listen,
            certificate,
            max_connections,
            timeouts: Timeouts {
                handshake: args.limits.tls_handshake_timeout,
                header: args.limits.header_timeout,
                write: args.limits.write_timeout,
                idle: args.limits.idle_timeout,
            },
            requests: RequestLimits {
                body_bytes: args.limits.max_body_bytes,
                body_time: args.limits.body_timeout,
                lookup_grace: args.limits.lookup_grace,
                waits: 0,
                memory: args.limits.max_request_memory,
                streams: 0,
                threads: args.limits.threads.map_or_else(default_threads, usize::from),
            },
            debug: args.listen.debug_endpoints.then_some(args.flags),
            record: args.record.into_folder(),
            drain_delay,
            drain_timeout,
        };
        config.limit_connections(max_connections);
        Ok(config)
    }
}

impl Config {
    /// Sets how many connections are allowed. Half of them may wait for unknown accounts, so that there are always others for pods
    /// whose accounts are known.
    pub fn limit_connections(&mut self, most: usize) {
        self.max_connections = most;
        self.requests.streams = most;
        self.requests.waits = most.div_ceil(2);
    }
}

/// As many as there are processors to use, up to a number that no API server keeps busy: an admission takes tens of
/// microseconds, and each thread keeps some memory.
fn default_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get).min(MAX_DEFAULT_THREADS)
}

impl RecordArgs {
    fn into_folder(self) -> Option<Folder> {
        Some(Folder {
            path: self.record?,
            max_files: self.record_max_files,
            max_bytes: self.record_max_bytes,
        })
    }
}

impl From<SourceArgs> for Source {
    /// `KUBECONFIG` is set on many a developer's machine, so manifests, which have to be asked for, come first.
    fn from(args: SourceArgs) -> Self {
        match args.service_accounts {
            Some(path) => Self::Manifests(path),
            None => Self::cluster(args.kubeconfig, args.context, args.kube_api),
        }
    }
}

impl From<ClusterArgs> for Source {
    fn from(args: ClusterArgs) -> Self {
        Self::cluster(args.kubeconfig, args.context, None)
    }
}

impl Source {
    fn cluster(kubeconfig: Option<PathBuf>, context: Option<String>, server: Option<String>) -> Self {
        let files = |path: &PathBuf| std::env::split_paths(path).filter(|path| path != "").collect();
        let files: Vec<PathBuf> = kubeconfig.as_ref().map(files).unwrap_or_default();
        if files.is_empty() && context.is_none() && server.is_none() {
            Self::InCluster
        } else {
            Self::Kubeconfig { files, context, server }
        }
    }
}

impl Http2 {
    fn is_offered_at(self, address: IpAddr) -> bool {
        match self {
            Self::Auto => address.is_loopback(),
            Self::On => true,
            Self::Off => false,
        }
    }
}

impl Certificate {
    fn of(args: TlsArgs, http2: bool) -> Result<Self, Contradiction> {
        let clients = Clients { ca: args.tls_client_ca_file, min_version: args.tls_min_version, http2 };
        match (args.self_managed.tls_self_managed, args.tls_self_signed) {
            (true, true) => Err(Contradiction::TwoCertificates),
            (true, false) => {
                let managed = args.self_managed;
                let leaf = managed.tls_leaf_validity;
                if leaf * 3 > managed.tls_ca_validity || managed.tls_rotation_overlap * 4 > leaf {
                    return Err(Contradiction::Validities);
                }
                Ok(Self::SelfManaged(SelfManaged { args: managed, clients }))
            }
            (false, true) => Ok(Self::SelfSigned { names: args.tls_san, clients }),
            (false, false) => {
                let (cert, key) = (args.tls_cert_file, args.tls_key_file);
                Ok(Self::Files(CertificateFiles { cert, key, clients }))
            }
        }
    }
}
