//! `doctor`: checks everything that an installation depends on.

mod checks;
mod handshake;
mod reader;

use std::{process::ExitCode, sync::Arc, time::SystemTime};

use serde_json::Value;

use self::reader::Reader;
use super::{https::Https, oidc::compare};
use crate::{
    cli::DoctorArgs,
    injection::resolver::Resolver,
    kube::fields::text,
    oidc::{
        Discovery, Jwks,
        issuer::{DISCOVERY_PATH, JWKS_PATH},
    },
    report::{Finding, Findings, Level},
};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

/// Prints the findings; the exit code is 1 if anything fails.
pub fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    super::block_on(Box::pin(examine(args)))
}

async fn examine(mut args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let reader = Reader(super::cluster::client(std::mem::take(&mut args.cluster)).await?);
    let ca_file = args.ca_file.as_deref();
    let https = match Https::new(ca_file) {
        Err(error) if ca_file.is_some() => return Err(error),
        https => https,
    };
    let mut findings = Findings::default();
    let version = reader.get("/version").await;
    findings.extend([checks::version(&version)]);
    // Without an API server there is nothing to look at.
    if version.is_ok() {
        findings.extend(rights(&reader, &args).await);
        let configurations = reader.get(CONFIGURATIONS).await;
        let name = &args.webhook_configuration_name;
        findings.extend(checks::configuration(&configurations, name, &args.namespace));
        let configuration = configurations.as_ref().ok().and_then(|list| checks::find(list, name));
        let namespaces = reader.get_metadata("/api/v1/namespaces").await;
        if let Some(configuration) = configuration {
            findings.extend(webhook(&reader, &args, configuration, &namespaces).await);
        }
        findings.extend(checks::accounts(configuration, &namespaces, &accounts(&reader).await));
        findings.extend(configurations.iter().flat_map(|list| checks::conflicting_webhooks(list, name)));
        let (of_issuer, issuer) = issuer(&reader, https).await;
        findings.extend(of_issuer);
        findings.extend(identity(&reader, &args, issuer.as_deref()).await);
    }
    super::print_findings(&findings, args.output)?;
    Ok(if findings.verdict() < Level::Fail { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Checks the rights of the webhook.
async fn rights(reader: &Reader, args: &DoctorArgs) -> Vec<Finding> {
    let (namespace, name) = (&*args.namespace, &*args.as_service_account);
    let account = (!name.is_empty()).then_some((namespace, name));
    let (path, who) = match account {
        Some(_) => ("subjectaccessreviews", format!("{namespace}/{name}")),
        None => ("selfsubjectaccessreviews", "the user of this command".to_owned()),
    };
    let mut answers = Vec::new();
    for right in checks::needs(namespace, &args.tls_secret_name, &args.webhook_configuration_name) {
        let answer = reader.create(&format!("{REVIEWS}/{path}"), right.review(account)).await;
        let is_refused = answer.is_err();
        answers.push((right, answer));
        if is_refused {
            break;
        }
    }
    checks::rights(&who, &answers)
}

/// The accounts that have a role or a mistake. Annotations have the default prefix.
async fn accounts(reader: &Reader) -> checks::Read<checks::Accounts> {
    let resolver = Resolver::new(Arc::default());
    let mut found = checks::Accounts::default();
    let listed = super::accounts::list(reader.0.clone(), None, |account| {
        let resolved = resolver.resolve(account.annotations());
        for mistake in super::accounts::mistakes(&resolved) {
            found.mistakes.push(format!("{}/{}: {mistake}", account.namespace, account.name));
        }
        if resolved.grant().is_some() {
            found.granted.push((account.namespace, account.name));
        }
    });
    listed.await?;
    Ok(found)
}

/// Checks whether the API server calls the webhook, and can reach and trust it.
async fn webhook(
    reader: &Reader,
    args: &DoctorArgs,
    configuration: &Value,
    namespaces: &checks::Read<Value>,
) -> Vec<Finding> {
    let wanted = args.service_account.as_ref().map(|(namespace, _)| &**namespace);
    let mut findings = checks::namespaces(configuration, namespaces, wanted);
    findings.extend(checks::objects(configuration));
    let now = SystemTime::now();
    findings.extend(checks::entries(configuration).filter_map(|entry| checks::ca_bundle(entry, now)));

    // All entries of one configuration call the same Service.
    let Some(entry) = checks::entries(configuration).next() else { return findings };
    let Some((namespace, name, port)) = checks::service_of(entry) else {
        findings.push(checks::url(text(entry, "/clientConfig/url")));
        return findings;
    };
    let service = reader.get(&format!("/api/v1/namespaces/{namespace}/services/{name}")).await;
    findings.push(checks::service((namespace, name, port), &service));
    if service.is_ok_and(|service| text(&service, "/spec/type") == "ExternalName") {
        let remedy = "give --service-account: then the API server tries it";
        findings.push(Finding::skip(
            "endpoints",
            "the Service leads out of the cluster (ExternalName)",
            remedy,
        ));
        return findings;
    }
    let slices = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3D{name}"
    );
    let (finding, addresses) = checks::endpoints((namespace, name), &reader.get(&slices).await);
    findings.push(finding);
    if let Ok(authorities) = checks::authorities(entry) {
        let server_name = format!("{name}.{namespace}.svc");
        let handshakes = handshake::with_each(&addresses, &server_name, &authorities).await;
        findings.extend(checks::served(&server_name, &handshakes, now));
    }
    findings
}

/// Compares what the issuer publishes with what the cluster signs. Also returns the issuer.
async fn issuer(reader: &Reader, https: anyhow::Result<Https>) -> (Vec<Finding>, Option<String>) {
    const CHECK: &str = "issuer";
    const CURE: &str =
        "give the user of this command the ClusterRole system:service-account-issuer-discovery";
    let unread = |path: &str| (vec![Finding::skip(CHECK, format!("{path} can't be read"), CURE)], None);
    let parsed = |text: String| Discovery::parse(&text).ok();
    let Some(discovery) = reader.text(DISCOVERY_PATH).await.ok().and_then(parsed) else {
        return unread(DISCOVERY_PATH);
    };
    let name = Some(discovery.name().to_owned());
    let issuer = match discovery.issuer() {
        Ok(issuer) => issuer,
        Err(error) => {
            let found = format!("{:?} can't be an issuer for AWS: {error}", discovery.name());
            return (
                vec![Finding::fail(CHECK, found, "give the cluster an issuer that is public (docs/install)")],
                name,
            );
        }
    };
    let parsed = |text: String| Jwks::parse(&text).ok();
    let Some(keys) = reader.text(JWKS_PATH).await.ok().and_then(parsed) else { return unread(JWKS_PATH) };
    let findings = match https {
        Ok(https) => compare(&https, &issuer, name.as_deref(), &keys).await,
        Err(error) => {
            vec![Finding::skip(CHECK, format!("{issuer} can't be fetched: {error:#}"), "give --ca-file")]
        }
    };
    (findings, name)
}

/// Checks what the pods of `--service-account` are given.
async fn identity(reader: &Reader, args: &DoctorArgs, issuer: Option<&str>) -> Vec<Finding> {
    let Some((namespace, name)) = &args.service_account else {
        let remedy = "give --service-account NAMESPACE/NAME, one that has a role";
        return ["token", "pod", "region"]
            .map(|check| Finding::skip(check, "no account was named", remedy))
            .into();
    };
    let (account, audience) = ((&**namespace, &**name), args.token_audience.as_ref());
    let request = format!(
        r#"{{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{{"audiences":[{}],"expirationSeconds":600}}}}"#,
        Value::from(audience)
    );
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let claims = reader.create(&path, request).await.and_then(|answer| {
        checks::Claims::of(&answer).ok_or_else(|| checks::Unread::Failed("the token is not a JWT".to_owned()))
    });
    let mut findings = checks::token(account, audience, issuer, &claims);
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    let pod = reader.create(&path, checks::probe_pod(name)).await;
    findings.extend(checks::probe(account, &pod));
    findings
}
