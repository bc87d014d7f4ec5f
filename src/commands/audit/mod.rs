//! `audit`: which running pods lack the identity that they should have.

mod examination;
mod missing;
mod owner;
mod report;

use std::{process::ExitCode, sync::Arc};

use anyhow::{Context, anyhow};
use hyper::StatusCode;
use serde_json::Value;

use self::{examination::Auditor, report::Report};
use super::{
    accounts::{self, ListedAccount},
    cluster, objects,
};
use crate::{
    accounts::{
        assignments::{
            Assignments, container_credentials_file,
            mapping::{CONFIG_MAP, Mapping},
            role_policy::{self, PermittedByDefault, RolePolicy},
        },
        cache::Cache,
    },
    cli::AuditArgs,
    injection::{resolver::Resolver, settings::AnnotationPrefix},
    kube::{
        call::CallError,
        collection::{Collection, Form},
    },
    metrics::Metrics,
};

/// Pods lack something; 1 is that it could not be told.
const LACKING: u8 = 3;

/// Pods that are finished need nothing any more.
const SELECTOR: &str = "fieldSelector=status.phase!%3DSucceeded,status.phase!%3DFailed";

/// Prints the report; the exit code says whether anything was found.
pub fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    super::block_on(Box::pin(audit(args)))
}

async fn audit(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let container_credentials = args.injection.container.file().map(container_credentials_file::load);
    let container_credentials =
        container_credentials.transpose().context("--watch-container-credentials-config")?;
    let settings = Arc::new(args.injection.into_settings());
    let namespace = args.namespace.as_deref();
    let client = cluster::client(args.cluster).await?;
    let policy = match args.role_policy {
        Some(default) => Some(role_policy(&client, default, &settings.annotation_prefix).await?),
        None => None,
    };
    let resolver = Arc::new(Resolver::new(Arc::clone(&settings)));
    let mut assignments = Assignments::new(Arc::clone(&resolver));
    if let Some(namespace) = args.config_map_namespace {
        let mapping = mapping(&client, &namespace, &resolver).await.context("--config-map-namespace")?;
        assignments.set_mapping(Arc::new(mapping));
    }
    if let Some(list) = container_credentials {
        assignments.set_container_credentials(Arc::new(list));
    }

    // Accounts first: one that is made meanwhile is then unknown, instead of an account without a role.
    let (cache, mut writer) = Cache::new(Metrics::new().accounts);
    let mut report = Report::default();
    writer.begin_list();
    let listed = accounts::list(client.clone(), namespace, |listed| {
        let ListedAccount { namespace, name, .. } = &listed;
        let mut account = assignments.resolve(namespace, name, listed.annotations());
        if let (Some(policy), Some(given)) = (&policy, &account) {
            let role = given.grant().and_then(|grant| grant.assigned_role());
            if let Some(Err(refusal)) = role.and_then(|role| policy.check(namespace, role.arn())) {
                report.add_refusal(namespace, name, refusal);
            }
            account = policy.apply(namespace, given.clone());
        }
        if let Some(account) = &account {
            let is_excluded = args.excluded_namespaces.contains(namespace) && account.grant().is_some();
            report.add_account(namespace, name, accounts::mistakes(account), is_excluded);
        }
        writer.listed(namespace, name, account);
    });
    listed.await.map_err(|error| refused("serviceaccounts", error))?;
    writer.end_list();

    let mut auditor = Auditor::new(Arc::clone(&settings));
    let mut listed = pods(client, namespace).list().await.map_err(|error| refused("pods", error))?;
    while let Some(pod) = listed.next().await.map_err(|error| refused("pods", error))? {
        let pod = objects::pod(&pod).context("the API server, pods: not a pod")?;
        let of = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        if !args.excluded_namespaces.iter().any(|excluded| excluded == of) {
            report.add_pod(auditor.examine(pod, |namespace, name| cache.look_up(namespace, name)));
        }
    }

    if let Some(namespace) = namespace.filter(|_| report.is_empty()) {
        eprintln!("warning: --namespace {namespace}: no pods there; is that its name?");
    }
    super::print_report(&report, || report.to_json(), args.output)?;
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(LACKING) })
}

/// The roles that the ConfigMap of a namespace gives.
async fn mapping(client: &kube::Client, namespace: &str, resolver: &Resolver) -> anyhow::Result<Mapping> {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps/{CONFIG_MAP}");
    let config_map: Value = serde_json::from_str(&cluster::get(client, &path).await?)?;
    let mapping = Mapping::of_config_map(&config_map, resolver)?;
    mapping.refused().iter().for_each(|refused| eprintln!("warning: malformed role mapping {refused}"));
    Ok(mapping)
}

/// The role policy with this default, on the Namespaces of the cluster.
async fn role_policy(
    client: &kube::Client,
    default: PermittedByDefault,
    prefix: &AnnotationPrefix,
) -> anyhow::Result<RolePolicy> {
    let namespaces = role_policy::read_all(client.clone(), prefix).await;
    let namespaces = namespaces.map_err(|error| refused("namespaces", error)).context("--role-policy")?;
    Ok(RolePolicy::new(default, prefix).with(namespaces))
}

/// The pods of a namespace, or all of them, that are not finished.
fn pods(client: kube::Client, namespace: Option<&str>) -> Collection {
    let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}")).unwrap_or_default();
    let path = format!("/api/v1{namespace}/pods");
    Collection { client, path, selector: SELECTOR.to_owned(), form: Form::Whole }
}

/// Why there is no list, with what would give one.
fn refused(resource: &str, error: CallError) -> anyhow::Error {
    let rule = format!("; it takes the rule {{apiGroups: [\"\"], resources: [{resource}], verbs: [list]}}");
    let remedy = match error.code() {
        Some(StatusCode::GONE) => "; the list took longer than the API server keeps it: try again",
        _ => error.missing_right(&rule).unwrap_or_default(),
    };
    anyhow!("can't list {resource}: {error}{remedy}")
}
