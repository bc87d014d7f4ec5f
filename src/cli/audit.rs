//! `audit`.

use clap::Args;

use super::{ClusterArgs, InjectionArgs, ReportForm, values::dns_name};
use crate::accounts::assignments::role_policy::PermittedByDefault;

/// Flags of `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Examine the pods of this namespace only
    #[arg(short, long, env = "AUDIT_NAMESPACE", value_name = "NAME", value_parser = dns_name)]
    pub namespace: Option<String>,
    /// Exclude the pods of these namespaces, as the webhook configuration does; several with commas
    #[arg(long, env = "AUDIT_EXCLUDED_NAMESPACES", value_name = "NAME", value_delimiter = ',')]
    pub excluded_namespaces: Vec<String>,
    /// Also expect the roles of the ConfigMap pod-identity-webhook in this namespace, as with serve's
    /// --watch-config-map
    #[arg(long, env = "AUDIT_CONFIG_MAP_NAMESPACE", value_name = "NAME", value_parser = dns_name)]
    pub config_map_namespace: Option<String>,
    /// Also report the accounts with a role that their namespace may not use, by the annotation permitted-roles of the
    /// Namespace, or this default: allow, deny, or comma-separated globs, in which {namespace} stands for the namespace
    #[arg(long, env = "AUDIT_ROLE_POLICY", value_name = "DEFAULT", default_missing_value = "allow",
        num_args = 0..=1, require_equals = true)]
    pub role_policy: Option<PermittedByDefault>,
    /// What to print
    #[arg(short, long, env = "AUDIT_OUTPUT", value_name = "FORM", default_value = "text")]
    pub output: ReportForm,
    /// Flags of the injection, as `serve` has them.
    #[command(flatten, next_help_heading = "Injection")]
    pub injection: InjectionArgs,
    /// Which cluster is asked.
    #[command(flatten, next_help_heading = "Cluster")]
    pub cluster: ClusterArgs,
}
