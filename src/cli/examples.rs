//! The examples with which `--help` of each command begins.

/// The description, the examples, and then what clap writes.
pub(super) const TEMPLATE: &str =
    "{about-with-newline}\nExamples:\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

pub(super) const SERVE: &str = r"  # Try it without a cluster
  eks-pod-identity-webhook --tls-self-signed --service-accounts accounts.yaml

  # In a pod: watch the cluster, with a certificate from files
  eks-pod-identity-webhook --aws-region us-west-2 \
      --tls-cert-file tls.crt --tls-key-file tls.key";

pub(super) const MUTATE: &str = r"  # Print a Deployment with what the webhook adds to its pods
  eks-pod-identity-webhook mutate -f deployment.yaml \
      --service-accounts accounts.yaml

  # Print the patch only
  eks-pod-identity-webhook mutate -f pod.yaml \
      --service-accounts accounts.yaml --output patch";

pub(super) const COMPARE: &str = r"  # Do both give the same pods, and is the candidate at most 20 % slower?
  eks-pod-identity-webhook compare --insecure --reviews recordings \
      --baseline https://localhost:8443 --candidate https://localhost:9443 \
      --max-ratio 1.2";

pub(super) const TRUST_POLICY: &str = r"  # For one ServiceAccount of the current cluster
  eks-pod-identity-webhook trust-policy --service-account payments/api \
      --aws-account-id 111122223333

  # For all accounts of a namespace, as Terraform, without asking the cluster
  eks-pod-identity-webhook trust-policy --service-account 'payments/*' \
      --aws-account-id 111122223333 --output terraform \
      --issuer https://oidc.example.com/my-cluster";

pub(super) const OIDC: &str = r"  # Does the published issuer match the cluster?
  eks-pod-identity-webhook oidc verify";

pub(super) const OIDC_GENERATE: &str = r"  # Write both documents, with the keys of the current cluster
  eks-pod-identity-webhook oidc generate --output-dir public \
      --issuer https://oidc.example.com/my-cluster";

pub(super) const OIDC_VERIFY: &str = r"  # Compare what the cluster's issuer publishes with the keys of the cluster
  eks-pod-identity-webhook oidc verify";

pub(super) const AUDIT: &str = r"  # Which running pods lack their role? Exit code 3 if any does
  eks-pod-identity-webhook audit

  # In one namespace, as JSON
  eks-pod-identity-webhook audit --namespace payments --output json";

pub(super) const DOCTOR: &str = r"  # Check the installation in the current cluster
  eks-pod-identity-webhook doctor

  # And why the pods of this ServiceAccount get no credentials
  eks-pod-identity-webhook doctor --service-account payments/api";

pub(super) const PROBE: &str = r"  # Exit code 0 if the process that was started with this socket is ready
  eks-pod-identity-webhook probe --probe-socket /run/webhook/probe";

pub(super) const COMPLETIONS: &str = r"  # In the current bash
  source <(eks-pod-identity-webhook completions bash)";

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory, Parser};

    use crate::cli::{Cli, names_command};

    /// Every command but the program itself and clap's `help`.
    fn commands(command: &Command) -> Vec<&Command> {
        let subcommands = command.get_subcommands().filter(|sub| sub.get_name() != "help");
        subcommands.flat_map(|sub| [vec![sub], commands(sub)].concat()).collect()
    }

    #[test]
    fn help_of_each_command_begins_with_an_example() {
        for command in commands(&Cli::command()) {
            let help = command.clone().render_long_help().to_string();
            let (before, _) = help.split_once("Usage:").unwrap();
            let examples = before.split_once("\n\nExamples:\n").map(|(_, examples)| examples);
            let examples = examples.unwrap_or_else(|| panic!("{}: {before}", command.get_name()));
            assert!(examples.lines().all(|line| line.len() < 80), "{examples}");
        }
    }

    #[test]
    fn every_example_is_accepted() {
        let cli = Cli::command();
        let texts = commands(&cli).into_iter().map(|command| command.get_before_help().unwrap().to_string());
        for text in texts {
            let text = text.replace("\\\n", "");
            for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
                let Some(typed) = line.find("eks-pod-identity-webhook").map(|start| &line[start..]) else {
                    continue;
                };
                let mut words: Vec<&str> = typed
                    .trim_end_matches(')')
                    .split_whitespace()
                    .map(|word| word.trim_matches('\''))
                    .collect();
                if !names_command(words.get(1).map(|word| std::ffi::OsStr::new(*word))) {
                    words.insert(1, "serve");
                }
                Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }
}
