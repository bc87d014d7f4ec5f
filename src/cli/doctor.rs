//! `doctor`.

use std::path::PathBuf;

use clap::Args;

use super::{
    ClusterArgs, ReportForm,
    values::{account_name, dns_name, dns_name_or_nothing},
};
use crate::injection::settings::{Audience, DEFAULT_AUDIENCE};

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The namespace of the webhook
    #[arg(short, long, env = "DOCTOR_NAMESPACE", value_name = "NAME", default_value = "aws-pod-identity-webhook",
        value_parser = dns_name)]
    pub namespace: String,
    /// The MutatingWebhookConfiguration
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook", value_parser = dns_name)]
    pub webhook_configuration_name: String,
    /// The Secret of self-managed certificates, on which the webhook needs rights
    #[arg(long, env, value_name = "NAME", default_value = "eks-pod-identity-webhook-tls", value_parser = dns_name)]
    pub tls_secret_name: String,
    /// The ServiceAccount of the webhook, whose rights are checked. Empty: the user of this command
    #[arg(long, env = "DOCTOR_AS_SERVICE_ACCOUNT", value_name = "NAME", default_value = "eks-pod-identity-webhook",
        value_parser = dns_name_or_nothing)]
    pub as_service_account: String,
    /// A ServiceAccount with a role, as NAMESPACE/NAME: request a token for it, and create one of its pods as a dry
    /// run
    #[arg(long, env = "DOCTOR_SERVICE_ACCOUNT", value_name = "NAMESPACE/NAME", value_parser = account_name)]
    pub service_account: Option<(String, String)>,
    /// The audience of that token
    #[arg(long, env, value_name = "AUDIENCE", default_value = DEFAULT_AUDIENCE)]
    pub token_audience: Audience,
    /// The authorities that signed the issuer's certificate (PEM), instead of the system's
    #[arg(long, env = "DOCTOR_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// What to print
    #[arg(short, long, env = "DOCTOR_OUTPUT", value_name = "FORM", default_value = "text")]
    pub output: ReportForm,
    /// Which cluster is asked.
    #[command(flatten, next_help_heading = "Cluster")]
    pub cluster: ClusterArgs,
}
