//! `serve`.

use std::{ffi::OsStr, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{ArgMatches, Args, CommandFactory, ValueEnum, parser::ValueSource};

use super::{
    Cli, InjectionArgs,
    values::{
        dns_name, duration, idle_duration, long_duration, positive_count, positive_duration, server_name,
        tls_version,
    },
};
use crate::{accounts::assignments::role_policy::PermittedByDefault, tls::TlsVersion};

/// Flags of `serve`. The last of several counts, as with the webhooks whose manifests it takes.
#[derive(Debug, Args)]
#[command(args_override_self = true)]
pub struct ServeArgs {
    /// Where accounts come from.
    #[command(flatten, next_help_heading = "ServiceAccounts")]
    pub source: SourceArgs,
    /// Flags of the injection.
    #[command(flatten, next_help_heading = "Injection")]
    pub injection: InjectionArgs,
    /// Where to listen.
    #[command(flatten, next_help_heading = "Listeners")]
    pub listen: ListenArgs,
    /// The certificate.
    #[command(flatten, next_help_heading = "TLS")]
    pub tls: TlsArgs,
    /// Limits.
    #[command(flatten, next_help_heading = "Limits")]
    pub limits: LimitArgs,
    /// Recording.
    #[command(flatten, next_help_heading = "Recording")]
    pub record: RecordArgs,
    /// Logging.
    #[command(flatten, next_help_heading = "Logging")]
    pub log: LogArgs,
    /// Warnings about the flags of other webhooks.
    #[arg(skip)]
    pub warnings: Vec<String>,
    /// Every flag as it is in use, for `/debug/config`.
    #[arg(skip)]
    pub flags: Vec<FlagInUse>,
}

/// A flag of `serve` that has a value. None holds a secret: keys and tokens are named by their files.
#[derive(Clone, Debug)]
pub struct FlagInUse {
    /// Its name, dashes included.
    pub name: String,
    /// Its value; several are separated by commas.
    pub value: String,
    /// `flag`, `environment` or `default`.
    pub from: &'static str,
}

impl FlagInUse {
    pub(super) fn of_serve(matches: &ArgMatches) -> Vec<Self> {
        let command = Cli::command();
        let serve = command.find_subcommand("serve");
        let args = serve.into_iter().flat_map(clap::Command::get_arguments);
        let in_use = args.filter_map(|arg| {
            let values = matches.get_raw(arg.get_id().as_str())?;
            Some(Self {
                name: format!("--{}", arg.get_long()?),
                value: values.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(","),
                from: match matches.value_source(arg.get_id().as_str())? {
                    ValueSource::EnvVariable => "environment",
                    ValueSource::CommandLine => "flag",
                    _ => "default",
                },
            })
        });
        in_use.collect()
    }
}

/// Where accounts come from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Read ServiceAccounts from this YAML file, or the .yaml, .yml and .json files of this folder, instead of
    /// watching a cluster. Read again when they change
    #[arg(long, env, value_name = "PATH")]
    pub service_accounts: Option<PathBuf>,
    /// Watch the cluster of this kubeconfig instead of the one that this process runs in
    #[arg(long, env, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig
    #[arg(long, env, value_name = "NAME")]
    pub context: Option<String>,
    /// The URL of the API server, such as https://localhost:6443, instead of the kubeconfig's. Without a kubeconfig,
    /// no credentials are sent
    #[arg(long, env, value_name = "URL")]
    pub kube_api: Option<String>,
    /// Give roles to accounts without one by the ConfigMap pod-identity-webhook of the webhook's namespace, as kOps
    /// and the AWS webhook do. With --service-accounts, such a ConfigMap among the manifests is always used
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub watch_config_map: bool,
    /// Give a role of that ConfigMap only to namespaces that permit it, by the annotation permitted-roles of the Namespace,
    /// or this default: allow, deny, or comma-separated globs, in which {namespace} stands for the namespace
    #[arg(long, env, value_name = "DEFAULT", default_missing_value = "allow", num_args = 0..=1, require_equals = true)]
    pub role_policy: Option<PermittedByDefault>,
    /// How often to check files (manifests, certificates) for changes. A change is used after it has been stable for
    /// this long
    #[arg(long, env, value_name = "DURATION", default_value = "2s", value_parser = positive_duration)]
    pub reload_interval: Duration,
}

/// Where to listen.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// The webhook: POST /mutate and GET /healthz over TLS
    #[arg(
        long,
        env,
        value_name = "ADDRESS",
        default_value = "[::]:8443",
        default_value_if("compat", "aws", "[::]:443")
    )]
    pub listen: SocketAddr,
    /// Probes and metrics: GET /livez, /readyz and /metrics over plain HTTP
    #[arg(
        long,
        env,
        value_name = "ADDRESS",
        default_value = "[::]:9090",
        default_value_if("compat", "aws", "[::]:9999")
    )]
    pub admin_listen: SocketAddr,
    /// Share both ports with another process of the same user, so that a new version takes over without a refused
    /// connection. The webhook's port is opened only when everything else is ready
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub reuse_port: bool,
    /// Answer `probe` on this Unix socket. Of processes that share their ports, either may answer a probe of the admin
    /// port; this socket belongs to one process
    #[arg(long, env, value_name = "FILE")]
    pub probe_socket: Option<PathBuf>,
    /// Offer HTTP/2. auto: if the webhook listens on a loopback address, which is where the API server uses it
    #[arg(long, env, value_name = "WHEN", default_value = "auto")]
    pub http2: Http2,
    /// Also count admissions by namespace: the first namespaces that are seen, up to this many, and the rest together; 0
    /// disables it. Each has six time series
    #[arg(long, env, value_name = "COUNT", default_value = "0", value_parser = clap::value_parser!(u16))]
    pub metrics_namespaces: u16,
    /// Answer GET /debug/config and GET /debug/accounts on the admin port: the flags, and what the webhook knows
    /// about accounts
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub debug_endpoints: bool,
}

/// When HTTP/2 is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Http2 {
    /// On loopback
    Auto,
    /// Always
    On,
    /// Never
    Off,
}

/// The certificate.
#[derive(Debug, Args)]
pub struct TlsArgs {
    /// The certificate chain in PEM, leaf first. Reloaded when it changes
    #[arg(long, env, value_name = "FILE", default_value = "/etc/webhook/certs/tls.crt")]
    pub tls_cert_file: PathBuf,
    /// The private key in PEM (PKCS#8, SEC1 or PKCS#1). Reloaded when it changes
    #[arg(long, env, value_name = "FILE", default_value = "/etc/webhook/certs/tls.key")]
    pub tls_key_file: PathBuf,
    /// Create a self-signed certificate at the start, to try the program out
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub tls_self_signed: bool,
    /// A DNS name or IP address of the self-signed certificate; several with commas
    #[arg(long, env, value_name = "NAME", value_delimiter = ',', default_value = "localhost,127.0.0.1,::1")]
    pub tls_san: Vec<String>,
    /// Require clients to present a certificate signed by one of these authorities (PEM). Reloaded when it changes; if
    /// the certificate is self-managed, with each new one; if it is self-signed, never
    #[arg(long, env, value_name = "FILE")]
    pub tls_client_ca_file: Option<PathBuf>,
    /// The oldest TLS version to accept: 1.2 or 1.3
    #[arg(long, env, value_name = "VERSION", default_value = "1.2", value_parser = tls_version)]
    pub tls_min_version: TlsVersion,
    /// A certificate that nobody has to see to.
    #[command(flatten, next_help_heading = "Self-managed TLS")]
    pub self_managed: SelfManagedArgs,
}

/// A certificate of our own authority, kept in the cluster.
#[derive(Debug, Args)]
pub struct SelfManagedArgs {
    /// Keep an authority and a certificate in a Secret, rotate them, and publish them in the webhook configuration's
    /// caBundle
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub tls_self_managed: bool,
    /// The Secret, which must exist and may be empty
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook-tls", value_parser = dns_name,
        default_value_if("compat", "aws", "pod-identity-webhook"))]
    pub tls_secret_name: String,
    /// The Service by which the API server calls the webhook
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook", value_parser = dns_name,
        default_value_if("compat", "aws", "pod-identity-webhook"))]
    pub tls_service_name: String,
    /// The host of clientConfig.url, a DNS name or an IP address, if the API server calls the webhook by a URL and not
    /// by its Service. The certificate then has that name as well
    #[arg(long, env, value_name = "HOST", value_parser = server_name)]
    pub tls_server_name: Option<String>,
    /// The MutatingWebhookConfiguration
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook", value_parser = dns_name,
        default_value_if("compat", "aws", "pod-identity-webhook"))]
    pub webhook_configuration_name: String,
    /// The namespace of Secret and Service, and of the ConfigMap of --watch-config-map. Without it: the pod's own, or that of the kubeconfig's context
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", value_parser = dns_name)]
    pub namespace: Option<String>,
    /// The cluster's DNS domain
    #[arg(long, env, value_name = "DOMAIN", default_value = "cluster.local", value_parser = dns_name)]
    pub tls_cluster_domain: String,
    /// How long an authority is valid. It is renewed at two thirds of that
    #[arg(long, env, value_name = "DURATION", default_value = "3650days", value_parser = long_duration)]
    pub tls_ca_validity: Duration,
    /// How long a certificate is valid; at most a third of its authority. It is renewed at two thirds of that
    #[arg(long, env, value_name = "DURATION", default_value = "90days", value_parser = long_duration)]
    pub tls_leaf_validity: Duration,
    /// How long a new authority is published beside the old ones before it signs; at most a quarter of a
    /// certificate's validity
    #[arg(long, env, value_name = "DURATION", default_value = "10m", value_parser = duration)]
    pub tls_rotation_overlap: Duration,
}

/// Limits.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// How long a pod of an unknown ServiceAccount waits for the watch; never more than half of the API server's
    /// timeout
    #[arg(long, env, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub lookup_grace: Duration,
    /// The most bytes that a request's body may have
    #[arg(long, env, value_name = "BYTES", default_value = "8388608")]
    pub max_body_bytes: usize,
    /// The most bytes that all requests together may hold: bodies, the memory to parse them, and responses until they
    /// are sent, each beyond its first 16 KiB. Further requests are answered with 503 at once
    #[arg(long, env, value_name = "BYTES", default_value = "67108864")]
    pub max_request_memory: usize,
    /// The most connections that may be open. When all are open, a new one replaces the one that has been idle
    /// longest. Half of them may wait for unknown ServiceAccounts, at most a quarter of these for one namespace
    #[arg(long, env, value_name = "COUNT", default_value = "2048", value_parser = positive_count)]
    pub max_connections: usize,
    /// How long a TLS handshake may take
    #[arg(long, env, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub tls_handshake_timeout: Duration,
    /// How long a request's header may take, from its first byte
    #[arg(long, env, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub header_timeout: Duration,
    /// How long a request's body may take
    #[arg(long, env, value_name = "DURATION", default_value = "10s", value_parser = positive_duration)]
    pub body_timeout: Duration,
    /// How long a client may take to read a response
    #[arg(long, env, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    pub write_timeout: Duration,
    /// How long a connection may be idle. At least 120s, since closing one before the API server does (after 90 s)
    /// loses a request
    #[arg(long, env, value_name = "DURATION", default_value = "180s", value_parser = idle_duration)]
    pub idle_timeout: Duration,
    /// How many threads answer requests. Without it: one for each processor that may be used, at most 8
    #[arg(long, env, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
    /// How long requests are still accepted after SIGTERM, while the cluster removes this replica from the Service
    #[arg(long, env, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub drain_delay: Duration,
    /// How long requests in flight may then take
    #[arg(long, env, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// Recording.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Write the AdmissionReviews that are answered to this folder, for `compare` and `mutate`. The values of
    /// environment variables are replaced; see docs/reference/recording.md
    #[arg(long, env, value_name = "DIR")]
    pub record: Option<PathBuf>,
    /// The most files that are recorded there, those of earlier runs included
    #[arg(long, env, value_name = "COUNT", default_value = "1000", value_parser = positive_count)]
    pub record_max_files: usize,
    /// The most bytes that these files may have together
    #[arg(long, env, value_name = "BYTES", default_value = "67108864")]
    pub record_max_bytes: u64,
}

/// Logging.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// off, error, warn, info, debug or trace, or a filter in the syntax of RUST_LOG. Without it: RUST_LOG, or else
    /// info
    #[arg(long, env, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// The form of log lines
    #[arg(long, env, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// For machines
    Json,
}
