//! What can be typed. Every flag is also an environment variable: the flag's name in capitals, with `MUTATE_` or
//! `COMPARE_` (of `serve`, `POD_`) before it where a name such as `FILE` would be anybody's.

use std::{
    ffi::{OsStr, OsString},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use clap::{
    ArgGroup, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
    parser::ValueSource,
};

use crate::{
    settings::{
        AnnotationPrefix, Audience, MountPath, Region, Settings, TokenExpiration, VolumeName, is_dns_label,
    },
    webhook_url::WebhookUrl,
};

/// Lets pods on any Kubernetes cluster assume AWS IAM roles, by the annotation that EKS uses.
///
/// Without a command, the webhook is served: see `serve --help` for its flags.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// Parses what was typed, and ends the process with a message if it can't be.
    pub fn from_args() -> Self {
        let mut args: Vec<OsString> = std::env::args_os().collect();
        if !names_command(args.get(1).map(|arg| &**arg)) {
            args.insert(args.len().min(1), "serve".into());
        }
        let matches = Self::command().get_matches_from(args);
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if let (Command::Serve(serve), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
            serve.flags = FlagInUse::of_serve(matches);
        }
        cli
    }
}

/// Whether the first argument is for the program as a whole, rather than a flag of the command left out.
fn names_command(first: Option<&OsStr>) -> bool {
    first.is_some_and(|first| {
        let is_flag = first.as_encoded_bytes().starts_with(b"-");
        !is_flag || ["-h", "--help", "-V", "--version"].iter().any(|global| first == *global)
    })
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the webhook (the default)
    Serve(Box<ServeArgs>),
    /// Inject manifests or answer recorded AdmissionReviews, without a cluster
    Mutate(Box<MutateArgs>),
    /// Compare two webhooks by recorded AdmissionReviews: whether both give the same pods, and how fast
    Compare(Box<CompareArgs>),
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where accounts come from.
    #[command(flatten, next_help_heading = "ServiceAccounts")]
    pub source: SourceArgs,
    /// What is injected.
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
    /// Every flag as it is in use, for `/debug/config`.
    #[arg(skip)]
    pub flags: Vec<FlagInUse>,
}

/// A flag of `serve` that has a value. None holds a secret: keys and tokens are named by their files.
#[derive(Clone, Debug)]
pub struct FlagInUse {
    /// Its name, dashes included.
    pub name: String,
    /// Its value; several are parted by commas.
    pub value: String,
    /// `flag`, `environment` or `default`.
    pub from: &'static str,
}

impl FlagInUse {
    fn of_serve(matches: &ArgMatches) -> Vec<Self> {
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
    #[arg(long, env, value_name = "PATH", value_parser = path())]
    pub service_accounts: Option<PathBuf>,
    /// Watch the cluster of this kubeconfig instead of the one this process runs in
    #[arg(long, env, value_name = "FILE", value_parser = path())]
    pub kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig
    #[arg(long, env, value_name = "NAME")]
    pub context: Option<String>,
    /// How often files (manifests, certificates) are looked at for changes. A change counts once it has stood still
    /// for as long
    #[arg(long, env, value_name = "DURATION", default_value = "2s", value_parser = positive_duration)]
    pub reload_interval: Duration,
}

/// What is injected.
#[derive(Debug, Args)]
pub struct InjectionArgs {
    /// AWS_REGION and AWS_DEFAULT_REGION of the pods; empty injects neither
    #[arg(long, env, value_name = "REGION", default_value = "us-east-1")]
    pub aws_region: Region,
    /// The prefix of the annotations and labels to read
    #[arg(long, env, value_name = "DOMAIN", default_value = "eks.amazonaws.com")]
    pub annotation_prefix: AnnotationPrefix,
    /// The audience of the projected token
    #[arg(long, env, value_name = "AUDIENCE", default_value = "sts.amazonaws.com")]
    pub token_audience: Audience,
    /// The lifetime of the projected token, in seconds
    #[arg(long, env, value_name = "SECONDS", default_value = "3600", allow_negative_numbers = true)]
    pub token_expiration: TokenExpiration,
    /// Where the token is mounted
    #[arg(
        long,
        env,
        value_name = "PATH",
        default_value = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
    )]
    pub token_mount_path: MountPath,
    /// The name of the token's volume
    #[arg(long, env, value_name = "NAME", default_value = "aws-token")]
    pub token_volume_name: VolumeName,
    /// Inject AWS_STS_REGIONAL_ENDPOINTS=regional
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub sts_regional_endpoints: bool,
}

impl InjectionArgs {
    /// The settings that were typed.
    pub fn into_settings(self) -> Settings {
        Settings {
            annotation_prefix: self.annotation_prefix,
            token_audience: self.token_audience,
            token_expiration: self.token_expiration,
            mount_path: self.token_mount_path,
            volume_name: self.token_volume_name,
            region: self.aws_region,
            sts_regional_endpoints: self.sts_regional_endpoints,
        }
    }
}

/// Where to listen.
#[derive(Debug, Args)]
pub struct ListenArgs {
    /// The webhook: POST /mutate and GET /healthz over TLS
    #[arg(long, env, value_name = "ADDRESS", default_value = "[::]:8443")]
    pub listen: SocketAddr,
    /// Probes and metrics: GET /livez, /readyz and /metrics over plain HTTP
    #[arg(long, env, value_name = "ADDRESS", default_value = "[::]:9090")]
    pub admin_listen: SocketAddr,
    /// Count admissions by namespace too, for the first so many that are seen and the rest together; 0 for none. Each
    /// has six time series
    #[arg(long, env, value_name = "COUNT", default_value = "0", value_parser = clap::value_parser!(u16))]
    pub metrics_namespaces: u16,
    /// Answer GET /debug/config and /debug/accounts on the admin port: the flags, and what is known of accounts
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub debug_endpoints: bool,
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
    /// Make a self-signed certificate at the start, for trying things out
    #[arg(long, env, value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub tls_self_signed: bool,
    /// A DNS name or IP address of the self-signed certificate; several with commas
    #[arg(long, env, value_name = "NAME", value_delimiter = ',', default_value = "localhost,127.0.0.1,::1")]
    pub tls_san: Vec<String>,
    /// Require clients to present a certificate signed by one of these authorities (PEM). Reloaded when it changes; if
    /// the certificate is self-managed, with each new one; if it is self-signed, never
    #[arg(long, env, value_name = "FILE", value_parser = path())]
    pub tls_client_ca_file: Option<PathBuf>,
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
    /// The Secret, which has to exist and may be empty
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook-tls", value_parser = dns_name)]
    pub tls_secret_name: String,
    /// The Service by which the API server calls the webhook
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook", value_parser = dns_name)]
    pub tls_service_name: String,
    /// The MutatingWebhookConfiguration
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook", value_parser = dns_name)]
    pub webhook_configuration_name: String,
    /// The namespace of Secret and Service. Without it: the pod's own, or that of the kubeconfig's context
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", value_parser = dns_name_or_nothing)]
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
    /// How long a pod of an unknown ServiceAccount waits for the watch to show it; never more than half of the
    /// API server's timeout
    #[arg(long, env, value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub lookup_grace: Duration,
    /// The most bytes that a request's body may have
    #[arg(long, env, value_name = "BYTES", default_value = "8388608")]
    pub max_body_bytes: usize,
    /// The most bytes that bodies over 64 KiB, what it takes to parse those over 1 MiB, and requests that wait for their
    /// ServiceAccount may hold together; further ones are answered with 503 at once
    #[arg(long, env, value_name = "BYTES", default_value = "67108864")]
    pub max_request_memory: usize,
    /// The most connections that may be open; further ones wait to be accepted. Half of them may wait for unknown
    /// ServiceAccounts, those of one namespace a quarter of that
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
    /// How long a connection may be idle. At least 120s, since closing one before the API server does (after 90 s)
    /// loses a request
    #[arg(long, env, value_name = "DURATION", default_value = "180s", value_parser = idle_duration)]
    pub idle_timeout: Duration,
    /// How long requests are still taken after SIGTERM, while the cluster learns that this replica goes
    #[arg(long, env, value_name = "DURATION", default_value = "5s", value_parser = duration)]
    pub drain_delay: Duration,
    /// How long requests in flight may then take
    #[arg(long, env, value_name = "DURATION", default_value = "20s", value_parser = duration)]
    pub drain_timeout: Duration,
}

/// Recording.
#[derive(Debug, Args)]
pub struct RecordArgs {
    /// Write the AdmissionReviews that are answered to this folder, for `mutate` to replay. The values of env
    /// variables are replaced; see the README
    #[arg(long, env, value_name = "DIR", value_parser = path())]
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
    /// error, warn, info, debug or trace, or a filter such as RUST_LOG takes. Without it, RUST_LOG counts, then info
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

/// Flags of `mutate`.
#[derive(Debug, Args)]
pub struct MutateArgs {
    /// Manifests or AdmissionReviews, in YAML or JSON; - for standard input
    #[arg(short, long, env = "MUTATE_FILE", value_name = "FILE")]
    pub file: PathBuf,
    /// The ServiceAccounts: a YAML file, or a folder of them
    #[arg(long, env, value_name = "PATH")]
    pub service_accounts: PathBuf,
    /// The namespace of manifests that name none
    #[arg(short, long, env = "MUTATE_NAMESPACE", value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// What to print. Without it, manifests are printed in the form they came in
    #[arg(short, long, env = "MUTATE_OUTPUT", value_name = "FORM")]
    pub output: Option<Output>,
    /// What is injected.
    #[command(flatten, next_help_heading = "Injection")]
    pub injection: InjectionArgs,
}

/// What `mutate` prints of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The JSON Patch
    Patch,
    /// The injected manifest in YAML
    Yaml,
    /// The injected manifest in JSON
    Json,
}

/// Flags of `compare`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("webhooks").args(["baseline", "candidate"]).required(true).multiple(true)))]
pub struct CompareArgs {
    /// The webhook that is compared with, such as https://localhost:8443/mutate
    #[arg(long, env = "COMPARE_BASELINE", value_name = "URL")]
    pub baseline: Option<WebhookUrl>,
    /// The webhook that is compared. One URL alone is measured alone
    #[arg(long, env = "COMPARE_CANDIDATE", value_name = "URL")]
    pub candidate: Option<WebhookUrl>,
    /// Recorded AdmissionReviews in JSON: a file, or the .json files of a folder
    #[arg(long, env = "COMPARE_REVIEWS", value_name = "PATH")]
    pub reviews: PathBuf,
    /// What to print
    #[arg(short, long, env = "COMPARE_OUTPUT", value_name = "FORM", default_value = "text")]
    pub output: CompareOutput,
    /// How the webhooks are trusted.
    #[command(flatten, next_help_heading = "TLS")]
    pub tls: CompareTlsArgs,
    /// How much is measured.
    #[command(flatten, next_help_heading = "Measurement")]
    pub load: CompareLoadArgs,
}

/// How `compare` trusts the webhooks, and is trusted.
#[derive(Debug, Args)]
pub struct CompareTlsArgs {
    /// The authorities that signed the webhooks' certificates (PEM)
    #[arg(long, env = "COMPARE_CA_FILE", value_name = "FILE", value_parser = path())]
    pub ca_file: Option<PathBuf>,
    /// Take any certificate, for webhooks on this machine
    #[arg(long, env = "COMPARE_INSECURE", value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub insecure: bool,
    /// The chain to present to webhooks that require a client certificate (PEM)
    #[arg(long, env = "COMPARE_CLIENT_CERT_FILE", value_name = "FILE", value_parser = path())]
    pub client_cert_file: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "COMPARE_CLIENT_KEY_FILE", value_name = "FILE", value_parser = path())]
    pub client_key_file: Option<PathBuf>,
}

/// How much `compare` measures.
#[derive(Debug, Args)]
pub struct CompareLoadArgs {
    /// How many requests are under way at once, each on a connection of its own
    #[arg(long, env = "COMPARE_CONCURRENCY", value_name = "COUNT", default_value = "8",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// How long to measure
    #[arg(long, env = "COMPARE_DURATION", value_name = "DURATION", default_value = "10s",
        value_parser = positive_duration, conflicts_with = "count")]
    pub duration: Duration,
    /// How many requests each webhook is sent, instead of a duration
    #[arg(long, env = "COMPARE_COUNT", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// How long to send requests before the measurement begins
    #[arg(long, env = "COMPARE_WARM_UP", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub warm_up: Duration,
    /// End with exit code 4 if the candidate's median latency is more than this many times the baseline's
    #[arg(long, env = "COMPARE_MAX_RATIO", value_name = "NUMBER", value_parser = positive_number,
        requires_all = ["baseline", "candidate"])]
    pub max_ratio: Option<f64>,
}

/// What `compare` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareOutput {
    /// A table, for people
    Text,
    /// One JSON object, for pipelines
    Json,
}

/// A path that may be empty, as a variable that is set to nothing makes it; [`crate::config`] takes that for none.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text)
        .ok()
        .filter(|&duration| duration <= Duration::from_secs(24 * 60 * 60))
        .ok_or_else(|| {
            "a duration is a number with a unit, such as 500ms, 10s or 2m, and at most a day".to_owned()
        })
}

/// The name of an object, or a part of a DNS name.
fn dns_name(text: &str) -> Result<String, String> {
    if text.len() <= 253 && text.split('.').all(is_dns_label) {
        return Ok(text.to_owned());
    }
    Err("a name has at most 253 characters of a-z, 0-9, '-' and '.'".to_owned())
}

/// The same, or a variable that is set to nothing; [`crate::config`] takes that for none.
fn dns_name_or_nothing(text: &str) -> Result<String, String> {
    if text.is_empty() { Ok(String::new()) } else { dns_name(text) }
}

/// A validity. x509 counts whole seconds, and a century is as good as for ever.
fn long_duration(text: &str) -> Result<Duration, String> {
    let bounds = Duration::from_secs(1)..=Duration::from_secs(100 * 366 * 24 * 60 * 60);
    humantime::parse_duration(text).ok().filter(|duration| bounds.contains(duration)).ok_or_else(|| {
        "a validity is a number with a unit, such as 12h, 90days or 10years, from 1s to 100years".to_owned()
    })
}

fn positive_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it has to be longer than zero".to_owned()),
        duration => Ok(duration),
    }
}

fn idle_duration(text: &str) -> Result<Duration, String> {
    let idle = duration(text)?;
    if idle < Duration::from_secs(120) { Err("it has to be at least 120s".to_owned()) } else { Ok(idle) }
}

fn positive_count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=1_000_000).contains(count));
    count.ok_or_else(|| "a count is a number from 1 to 1000000".to_owned())
}

fn positive_number(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "want a number above zero, such as 1.1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_of_the_same_name() {
        for (command, prefixes) in
            [("serve", &["", "POD_"][..]), ("mutate", &["", "MUTATE_"]), ("compare", &["COMPARE_"])]
        {
            let cli = Cli::command();
            for arg in cli.find_subcommand(command).unwrap().get_arguments() {
                let flag = arg.get_long().unwrap();
                let env = arg.get_env().unwrap_or_else(|| panic!("--{flag} has no environment variable"));
                let name = flag.to_uppercase().replace('-', "_");
                assert!(
                    prefixes.iter().any(|prefix| env == &*format!("{prefix}{name}")),
                    "--{flag}: {env:?}"
                );
            }
        }
    }

    #[test]
    fn the_flags_default_to_the_default_settings() {
        let Command::Serve(serve) = Cli::parse_from(["eks-pod-identity-webhook", "serve"]).command else {
            panic!("another command")
        };
        let typed = serve.injection.into_settings();
        assert_eq!(format!("{typed:?}"), format!("{:?}", Settings::default()));
    }

    #[test]
    fn flags_in_use_are_told_with_where_they_come_from() {
        let typed = ["eks-pod-identity-webhook", "serve", "--listen=[::1]:1", "--tls-san=a,b"];
        let matches = Cli::command().get_matches_from(typed);
        let flags = FlagInUse::of_serve(matches.subcommand().unwrap().1);
        let flag = |name| {
            let flag = flags.iter().find(|flag| flag.name == name)?;
            Some((&*flag.value, flag.from))
        };
        assert_eq!(flag("--listen"), Some(("[::1]:1", "flag")));
        assert_eq!(flag("--tls-san"), Some(("a,b", "flag")));
        assert_eq!(flag("--idle-timeout"), Some(("180s", "default")));
        assert_eq!(flag("--record"), None);
    }

    #[test]
    fn serve_is_the_command_where_none_is_named() {
        for (first, named) in [
            (None, false),
            (Some("--listen=x"), false),
            (Some("serve"), true),
            (Some("mutate"), true),
            (Some("compare"), true),
            (Some("typo"), true),
            (Some("--help"), true),
            (Some("-V"), true),
        ] {
            assert_eq!(names_command(first.map(OsStr::new)), named, "{first:?}");
        }
    }
}
