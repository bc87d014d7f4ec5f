//! `mutate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::InjectionArgs;

/// Flags of `mutate`.
#[derive(Debug, Args)]
pub struct MutateArgs {
    /// Manifests or AdmissionReviews, in YAML or JSON; - for standard input
    #[arg(short, long, env = "MUTATE_FILE", value_name = "FILE")]
    pub file: PathBuf,
    /// Further ServiceAccounts, beside those of the input: a YAML file, or a folder of them
    #[arg(long, env, value_name = "PATH")]
    pub service_accounts: Option<PathBuf>,
    /// Fail if a pod's ServiceAccount is in neither. Otherwise the pod is printed unchanged, with a note
    #[arg(long, env = "MUTATE_STRICT", value_name = "BOOL", default_value = "false", default_missing_value = "true",
        num_args = 0..=1, require_equals = true, action = clap::ArgAction::Set)]
    pub strict: bool,
    /// The namespace of manifests that have none
    #[arg(short, long, env = "MUTATE_NAMESPACE", value_name = "NAME", default_value = "default")]
    pub namespace: String,
    /// What to print. Without it: manifests, in the format of the input
    #[arg(short, long, env = "MUTATE_OUTPUT", value_name = "FORM")]
    pub output: Option<Output>,
    /// Flags of the injection.
    #[command(flatten, next_help_heading = "Injection")]
    pub injection: InjectionArgs,
}

/// The output of `mutate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The JSON Patch
    Patch,
    /// The injected manifest in YAML
    Yaml,
    /// The injected manifest in JSON
    Json,
}
