//! `oidc`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{ClusterArgs, ReportForm, examples};
use crate::oidc::issuer::Issuer;

/// The commands of `oidc`.
#[derive(Debug, Subcommand)]
pub enum OidcCommand {
    /// Write the discovery document and the keys of an issuer, ready to be published
    #[command(before_help = examples::OIDC_GENERATE, help_template = examples::TEMPLATE)]
    Generate(OidcGenerateArgs),
    /// Compare what an issuer publishes with what the cluster signs
    #[command(before_help = examples::OIDC_VERIFY, help_template = examples::TEMPLATE)]
    Verify(OidcVerifyArgs),
}

/// Flags of `oidc generate`.
#[derive(Debug, Args)]
pub struct OidcGenerateArgs {
    /// The folder to write to: .well-known/openid-configuration and openid/v1/jwks in it
    #[arg(long, env = "OIDC_OUTPUT_DIR", value_name = "DIR")]
    pub output_dir: PathBuf,
    /// The source of the keys.
    #[command(flatten)]
    pub keys: OidcKeysArgs,
}

/// Flags of `oidc verify`.
#[derive(Debug, Args)]
pub struct OidcVerifyArgs {
    /// The authorities that signed the issuer's certificate (PEM), instead of the system's
    #[arg(long, env = "OIDC_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// What to print
    #[arg(short, long, env = "OIDC_OUTPUT", value_name = "FORM", default_value = "text")]
    pub output: ReportForm,
    /// The source of the keys.
    #[command(flatten)]
    pub keys: OidcKeysArgs,
}

/// Which issuer, and the keys that the cluster signs with.
#[derive(Debug, Args)]
pub struct OidcKeysArgs {
    /// The issuer. Without it, the cluster's
    #[arg(long, env = "OIDC_ISSUER", value_name = "URL")]
    pub issuer: Option<Issuer>,
    /// Keys in PEM, as kube-apiserver's --service-account-key-file takes them; several with commas, or by giving the flag
    /// again. Without it, the cluster is asked
    #[arg(long, env = "OIDC_KEY_FILE", value_name = "FILE", value_delimiter = ',', requires = "issuer")]
    pub key_file: Vec<PathBuf>,
    /// Which cluster is asked.
    #[command(flatten, next_help_heading = "Cluster")]
    pub cluster: ClusterArgs,
}
