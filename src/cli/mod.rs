//! Command-line flags and environment variables. Every flag is also a variable: the flag's name in capitals, with that of
//! the command (of `serve`, `POD_`) before it where a name such as `FILE` would be too general.

mod audit;
mod cluster;
mod compare;
mod compat;
mod completions;
pub mod config;
mod container_credentials;
mod doctor;
mod examples;
mod injection;
mod mutate;
mod oidc;
mod probe;
mod serve;
mod trust_policy;
mod values;
mod variables;
pub mod webhook_url;

use std::ffi::{OsStr, OsString};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, error::ErrorKind};

pub use self::{
    audit::AuditArgs,
    cluster::ClusterArgs,
    compare::{
        BaselineArgs, CandidateArgs, CompareArgs, CompareForm, CompareLoadArgs, CompareSideArgs,
        CompareTlsArgs, ReportForm,
    },
    compat::foreign_flags,
    completions::{CompletionsArgs, Shell},
    container_credentials::ContainerCredentialsArgs,
    doctor::DoctorArgs,
    injection::InjectionArgs,
    mutate::{MutateArgs, Output},
    oidc::{OidcCommand, OidcGenerateArgs, OidcKeysArgs, OidcVerifyArgs},
    probe::ProbeArgs,
    serve::{
        FlagInUse, Http2, LimitArgs, ListenArgs, LogArgs, LogFormat, RecordArgs, SelfManagedArgs, ServeArgs,
        SourceArgs, TlsArgs,
    },
    trust_policy::{PolicyForm, TrustPolicyArgs},
};

/// Gives pods on any Kubernetes cluster AWS IAM roles, with the annotation that EKS uses.
///
/// Without a command, it serves the webhook: see `serve --help` for the flags.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    /// The command.
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
        let mut warnings = Vec::new();
        let compat = std::env::var_os("COMPAT").filter(|compat| !compat.is_empty());
        let command = args.get(1).cloned().unwrap_or_default();
        if ["serve", "mutate", "audit"].iter().any(|injects| command == *injects) {
            args = compat::with_implied(args, compat.as_deref());
        }
        if command == "serve" {
            let translated = compat::translate(args, compat);
            let refuse = |message| Self::command().error(ErrorKind::ValueValidation, message).exit();
            compat::Translated { args, warnings } = translated.unwrap_or_else(refuse);
        }
        let matches = variables::without_empty(Self::command()).get_matches_from(args);
        let mut cli = Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
        if let (Command::Serve(serve), Some((_, matches))) = (&mut cli.command, matches.subcommand()) {
            serve.flags = FlagInUse::of_serve(matches);
            serve.warnings = warnings;
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

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the webhook (the default)
    #[command(before_help = examples::SERVE, help_template = examples::TEMPLATE)]
    Serve(Box<ServeArgs>),
    /// Inject manifests or answer recorded AdmissionReviews, without a cluster
    #[command(before_help = examples::MUTATE, help_template = examples::TEMPLATE)]
    Mutate(Box<MutateArgs>),
    /// Compare two webhooks: do both give the same pods, and how fast?
    #[command(before_help = examples::COMPARE, help_template = examples::TEMPLATE)]
    Compare(Box<CompareArgs>),
    /// Print the trust policy by which an IAM role trusts ServiceAccounts of a cluster
    #[command(before_help = examples::TRUST_POLICY, help_template = examples::TEMPLATE)]
    TrustPolicy(Box<TrustPolicyArgs>),
    /// Write or verify what the cluster's OIDC issuer publishes
    #[command(subcommand, before_help = examples::OIDC, help_template = examples::TEMPLATE)]
    Oidc(Box<OidcCommand>),
    /// Find running pods that lack the role they should have
    #[command(before_help = examples::AUDIT, help_template = examples::TEMPLATE)]
    Audit(Box<AuditArgs>),
    /// Check an installation, and say what to do about each fault
    #[command(before_help = examples::DOCTOR, help_template = examples::TEMPLATE)]
    Doctor(Box<DoctorArgs>),
    /// Ask one process of `serve` whether it is ready, for probes of Kubernetes
    #[command(before_help = examples::PROBE, help_template = examples::TEMPLATE)]
    Probe(ProbeArgs),
    /// Print completions for a shell
    #[command(before_help = examples::COMPLETIONS, help_template = examples::TEMPLATE)]
    Completions(CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::injection::settings::Settings;

    #[test]
    fn the_definitions_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_of_the_same_name() {
        for (path, prefixes) in [
            (&["serve"][..], &["", "POD_"][..]),
            (&["mutate"], &["", "MUTATE_"]),
            (&["compare"], &["", "COMPARE_"]),
            (&["trust-policy"], &["", "TRUST_POLICY_"]),
            (&["oidc", "generate"], &["", "OIDC_"]),
            (&["oidc", "verify"], &["", "OIDC_"]),
            (&["audit"], &["", "AUDIT_"]),
            (&["doctor"], &["", "DOCTOR_"]),
            (&["probe"], &[""]),
        ] {
            let cli = Cli::command();
            let command = path.iter().fold(&cli, |command, name| command.find_subcommand(name).unwrap());
            for arg in command.get_arguments() {
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
            (Some("trust-policy"), true),
            (Some("typo"), true),
            (Some("--help"), true),
            (Some("-V"), true),
        ] {
            assert_eq!(names_command(first.map(OsStr::new)), named, "{first:?}");
        }
    }
}
