//! `compare`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args, ValueEnum};
use hyper::Uri;

use super::{
    ClusterArgs,
    values::{account_name as service_name, duration, positive_duration, positive_number},
    webhook_url::WebhookUrl,
};

/// Flags of `compare`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("webhooks")
    .args(["baseline", "baseline_service", "candidate", "candidate_service"]).required(true).multiple(true)))]
#[command(group(ArgGroup::new("one").args(["baseline", "baseline_service"])))]
#[command(group(ArgGroup::new("other").args(["candidate", "candidate_service"])))]
pub struct CompareArgs {
    /// The webhook that is compared with.
    #[command(flatten)]
    pub baseline: BaselineArgs,
    /// The webhook that is compared.
    #[command(flatten)]
    pub candidate: CandidateArgs,
    /// Recorded AdmissionReviews in JSON: a file, or the .json files of a folder
    #[arg(long, env = "COMPARE_REVIEWS", value_name = "PATH", required_unless_present = "from_cluster")]
    pub reviews: Option<PathBuf>,
    /// Instead of recorded reviews, at most this many of the cluster's own pods, as if they were created now. Values of
    /// variables are masked
    #[arg(long, env = "COMPARE_FROM_CLUSTER", value_name = "COUNT", default_missing_value = "200", num_args = 0..=1,
        require_equals = true, conflicts_with = "reviews", value_parser = clap::value_parser!(u16).range(1..))]
    pub from_cluster: Option<u16>,
    /// What to print
    #[arg(short, long, env = "COMPARE_OUTPUT", value_name = "FORM", default_value = "text")]
    pub output: CompareForm,
    /// Also write one self-contained HTML page, to attach to a change request
    #[arg(long, env = "COMPARE_REPORT", value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// The cluster of --baseline-service, --candidate-service and --from-cluster.
    #[command(flatten, next_help_heading = "Cluster")]
    pub cluster: ClusterArgs,
    /// How the webhooks are trusted.
    #[command(flatten, next_help_heading = "TLS")]
    pub tls: CompareTlsArgs,
    /// How much is measured.
    #[command(flatten, next_help_heading = "Measurement")]
    pub load: CompareLoadArgs,
}

/// The webhook that is compared with.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// The webhook to compare with, such as https://localhost:8443/mutate
    #[arg(long, env = "COMPARE_BASELINE", value_name = "URL")]
    pub baseline: Option<WebhookUrl>,
    /// The same, installed in a cluster: its Service, reached by a port-forward to a pod
    #[arg(long, env = "COMPARE_BASELINE_SERVICE", value_name = "NAMESPACE/NAME", value_parser = service_name,
        conflicts_with_all = ["baseline", "baseline_admin"])]
    pub baseline_service: Option<(String, String)>,
    /// The baseline's admin port, such as http://localhost:9090: its version and, with --debug-endpoints, its flags
    /// go into the report
    #[arg(long, env = "COMPARE_BASELINE_ADMIN", value_name = "URL", requires = "baseline")]
    pub baseline_admin: Option<Uri>,
}

/// The webhook that is compared.
#[derive(Debug, Args)]
pub struct CandidateArgs {
    /// The webhook to compare. With only one webhook, that one is measured
    #[arg(long, env = "COMPARE_CANDIDATE", value_name = "URL")]
    pub candidate: Option<WebhookUrl>,
    /// The same, installed in a cluster
    #[arg(long, env = "COMPARE_CANDIDATE_SERVICE", value_name = "NAMESPACE/NAME", value_parser = service_name,
        conflicts_with_all = ["candidate", "candidate_admin"])]
    pub candidate_service: Option<(String, String)>,
    /// The candidate's admin port
    #[arg(long, env = "COMPARE_CANDIDATE_ADMIN", value_name = "URL", requires = "candidate")]
    pub candidate_admin: Option<Uri>,
}

/// One of the two webhooks.
#[derive(Debug)]
pub struct CompareSideArgs {
    /// Its URL.
    pub url: Option<WebhookUrl>,
    /// The namespace and the name of its Service.
    pub service: Option<(String, String)>,
    /// The URL of its admin port.
    pub admin: Option<Uri>,
}

impl From<BaselineArgs> for CompareSideArgs {
    fn from(args: BaselineArgs) -> Self {
        Self { url: args.baseline, service: args.baseline_service, admin: args.baseline_admin }
    }
}

impl From<CandidateArgs> for CompareSideArgs {
    fn from(args: CandidateArgs) -> Self {
        Self { url: args.candidate, service: args.candidate_service, admin: args.candidate_admin }
    }
}

/// How `compare` trusts the webhooks, and is trusted.
#[derive(Debug, Args)]
pub struct CompareTlsArgs {
    /// The authorities that signed the webhooks' certificates (PEM)
    #[arg(long, env = "COMPARE_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Accept any certificate, for webhooks on this machine
    #[arg(long, env = "COMPARE_INSECURE", value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub insecure: bool,
    /// The certificate chain (PEM) for webhooks that require a client certificate
    #[arg(long, env = "COMPARE_CLIENT_CERT_FILE", value_name = "FILE")]
    pub client_cert_file: Option<PathBuf>,
    /// Its key (PEM)
    #[arg(long, env = "COMPARE_CLIENT_KEY_FILE", value_name = "FILE")]
    pub client_key_file: Option<PathBuf>,
}

/// How much `compare` measures.
#[derive(Debug, Args)]
pub struct CompareLoadArgs {
    /// Call the webhooks by HTTP/2, as kube-apiserver does at a URL on loopback
    #[arg(long, env = "COMPARE_HTTP2", value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub http2: bool,
    /// The number of concurrent requests, each on its own connection; with --http2, all on one
    #[arg(long, env = "COMPARE_CONCURRENCY", value_name = "COUNT", default_value = "8",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub concurrency: u16,
    /// How long to measure
    #[arg(long, env = "COMPARE_DURATION", value_name = "DURATION", default_value = "10s",
        value_parser = positive_duration, conflicts_with = "count")]
    pub duration: Duration,
    /// How many requests to send to each webhook, instead of a duration
    #[arg(long, env = "COMPARE_COUNT", value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// How long to send requests before the measurement begins
    #[arg(long, env = "COMPARE_WARM_UP", value_name = "DURATION", default_value = "1s", value_parser = duration)]
    pub warm_up: Duration,
    /// End with exit code 4 if the candidate's median latency is more than this many times the baseline's
    #[arg(long, env = "COMPARE_MAX_RATIO", value_name = "NUMBER", value_parser = positive_number,
        requires_all = ["one", "other"])]
    pub max_ratio: Option<f64>,
}

/// How `compare` prints its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompareForm {
    /// A table, for a terminal
    Text,
    /// One JSON object, for pipelines
    Json,
    /// Markdown, for a pull request
    Markdown,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportForm {
    /// A table, for people
    Text,
    /// One JSON object, for pipelines
    Json,
}
