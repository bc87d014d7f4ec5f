//! Manifests of other webhooks in which nothing but the image was changed: the program starts, serves and is probed as
//! they are.

use std::{
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    process::Command,
};

use eks_pod_identity_webhook::cli::foreign_flags;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{
    ROLE, ROLE_ANNOTATION,
    api_server::ApiServer,
    client::{Client, request},
    daemon::{Daemon, command, stderr, stdout, write_kubeconfig},
    patch_of,
    pki::Ca,
    recorded,
    server::plain_get,
    within,
};

/// What stands around a container: a cluster and a certificate. Its ports are free ones, so that tests don't meet.
struct Around {
    api: ApiServer,
    ca: Ca,
    dir: TempDir,
}

impl Around {
    async fn new() -> Self {
        let (api, ca, dir) = (ApiServer::start().await, Ca::new(), tempfile::tempdir().unwrap());
        api.apply("payments", "api", json!({ROLE_ANNOTATION: ROLE}));
        ca.server(1).write(dir.path());
        Self { api, ca, dir }
    }

    /// The arguments of a line, with the certificate's files where they are, for this cluster.
    fn args(&self, line: &str) -> Vec<String> {
        let file = |name: &str| self.dir.path().join(name).to_str().unwrap().to_owned();
        let line = line.replace("tls.crt", &file("tls.crt")).replace("tls.key", &file("tls.key"));
        let kubeconfig = write_kubeconfig(self.dir.path(), self.api.address, None);
        let context = ["--kubeconfig".to_owned(), kubeconfig, "--context=test".to_owned()];
        line.split(' ').map(str::to_owned).chain(context).collect()
    }

    /// Runs the program as `called` with `line`, asks and probes it, and returns the pod's patch and the warnings.
    async fn serve(&self, called: &str, line: &str) -> (String, Vec<String>) {
        let mut program = command(&[]);
        program.arg0(called).args(self.args(line)).env("DRAIN_DELAY", "0s");
        let mut daemon = Daemon::spawn(program).await;
        let loopback = |address: SocketAddr| SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        let (webhook, admin) = (loopback(daemon.address), loopback(daemon.admin));
        for path in ["/healthz", "/metrics"] {
            assert_eq!(plain_get(admin, path).await.0, 200, "{path}");
        }
        within("readiness", async { while plain_get(admin, "/readyz").await.0 != 200 {} }).await;

        let mut client = Client::connect(webhook, &self.ca.pem()).await;
        client.send(&request("GET", "/healthz", b"")).await;
        assert_eq!(client.response().await.status, 200);
        let answer = client.mutate(&recorded("v1beta1-minimal")).await;
        let patch = serde_json::to_string(&patch_of(&answer.json()).unwrap()).unwrap();

        daemon.signal("-TERM");
        assert_eq!(daemon.exit_code().await, Some(0));
        let log = daemon.rest_of_the_log().await;
        let warnings =
            log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap_or_default());
        let warnings = warnings.filter(|line| line["level"] == "WARN");
        let warnings = warnings.map(|line| line["message"].as_str().unwrap().to_owned()).collect();
        (patch, warnings)
    }
}

/// `deploy/deployment-base.yaml`, and kOps' add-on in the namespace that the test's API server has.
#[tokio::test]
async fn manifests_of_the_aws_webhook() {
    let around = Around::new().await;
    for (line, is_regional) in [
        (
            "--in-cluster=false --namespace=default --service-name=pod-identity-webhook \
             --annotation-prefix=eks.amazonaws.com --token-audience=sts.amazonaws.com --logtostderr",
            false,
        ),
        (
            "--in-cluster=false --namespace=aws-pod-identity-webhook --service-name=pod-identity-webhook \
             --annotation-prefix=eks.amazonaws.com --token-audience=amazonaws.com --logtostderr \
             --watch-config-map --sts-regional-endpoint --aws-default-region=eu-central-1 --v=5",
            true,
        ),
    ] {
        let line = format!("{line} --tls-cert=tls.crt --tls-key=tls.key --port=0 --metrics-port=0");
        let (patch, warnings) = around.serve("/webhook", &line).await;
        assert_eq!(warnings, [""; 0], "{line}");
        assert!(patch.contains("aws-iam-token") && patch.contains("86400"), "{patch}");
        assert!(!patch.contains("AWS_ROLE_SESSION_NAME"), "{patch}");
        for variable in ["AWS_STS_REGIONAL_ENDPOINTS", "AWS_DEFAULT_REGION"] {
            assert_eq!(patch.contains(variable), is_regional, "{variable}: {patch}");
        }
    }
}

/// The chart of mondu-ai/eks-pod-identity-webhook.
#[tokio::test]
async fn manifests_of_mondus_chart() {
    let line = "--tls-cert-path=tls.crt --tls-key-path=tls.key --listen-addr=:0 --aws-region=eu-west-1 \
                --admin-listen=127.0.0.1:0";
    let (patch, warnings) = Around::new().await.serve("/usr/local/bin/eks-pod-identity-webhook", line).await;
    assert_eq!(warnings, [""; 0]);
    for part in [r#""aws-token""#, "3600", "AWS_ROLE_SESSION_NAME", "eu-west-1"] {
        assert!(patch.contains(part), "{part}: {patch}");
    }
}

/// Every flag that they have, with Go's dashes as well.
#[tokio::test]
async fn every_flag_at_once() {
    let value = |name: &str| match name {
        "port" | "metrics-port" | "resync-period" => "0",
        "tls-cert" | "tls-cert-path" => "tls.crt",
        "tls-key" | "tls-key-path" => "tls.key",
        "listen-addr" => "127.0.0.1:0",
        "in-cluster" | "version" | "logtostderr" => "false",
        "token-expiration" => "60",
        "tls-min-version" => "1.2",
        "v" => "4",
        "service-account-lookup-grace-period" => "100ms",
        "aws-default-region" => "eu-west-1",
        "service-name" | "tls-secret" => "pod-identity-webhook",
        _ => "true",
    };
    let around = Around::new().await;
    for dashes in ["-", "--"] {
        let flags: Vec<_> = foreign_flags().map(|name| format!("{dashes}{name}={}", value(name))).collect();
        let (patch, warnings) = around.serve("webhook", &flags.join(" ")).await;
        assert!(patch.contains(r#""expirationSeconds":600"#) && patch.contains("eu-west-1"), "{patch}");
        for name in ["token-expiration", "tls-cipher-suites", "resync-period", "log_dir", "logtostderr"] {
            let start = format!("--{name}: ");
            assert_eq!(
                warnings.iter().filter(|warning| warning.starts_with(&start)).count(),
                1,
                "{warnings:?}"
            );
        }
    }
}

/// What is empty counts as not given, and what belongs to no flag is not looked at, as by the AWS webhook.
#[tokio::test]
async fn empty_values_do_not_prevent_the_start() {
    let line = "--tls-cert=tls.crt --tls-key=tls.key --port=0 --metrics-port=0 --token-audience= --context= \
                --watch-container-credentials-config= --container-credentials-full-uri=con-creds-uri \
                --container-credentials-audience= --enable-debugging-handlers false";
    let (patch, warnings) = Around::new().await.serve("/webhook", line).await;
    assert!(patch.contains(r#""audience":"sts.amazonaws.com""#), "{patch}");
    for warning in [
        "--token-audience: it is empty, and counts as not given",
        "--container-credentials-audience: it is empty, and counts as not given",
        "false: left out, since it belongs to no flag",
    ] {
        assert!(warnings.iter().any(|said| said == warning), "{warnings:?}");
    }
}

/// By its name, `mutate` has the defaults of the AWS webhook as `serve` does.
#[test]
fn the_name_of_the_program_counts_for_mutate() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/examples");
    let (pod, accounts) =
        (format!("{examples}/deployment.yaml"), format!("{examples}/service-accounts.yaml"));
    for (called, volume) in [("webhook", "aws-iam-token"), ("eks-pod-identity-webhook", "aws-token")] {
        let mut program = command(&["mutate", "-f", &pod, "--service-accounts", &accounts]);
        let output = program.arg0(called).output().unwrap();
        assert!(stdout(&output).contains(&format!("name: {volume}\n")), "{called}: {output:?}");
    }
}

/// `--kube-api` alone goes there without credentials; with a kubeconfig, with those of its context.
#[tokio::test]
async fn another_address_of_the_api_server() {
    let (around, dir) = (Around::new().await, tempfile::tempdir().unwrap());
    let nowhere = write_kubeconfig(dir.path(), "127.0.0.1:9".parse().unwrap(), None);
    let server = format!("--kube-api=http://{}", around.api.address);
    let files = [around.args("--tls-cert=tls.crt --tls-key=tls.key")[..2].to_vec(), vec![server]].concat();
    for (kubeconfig, authorization) in
        [(vec![], None), (vec!["--kubeconfig", &*nowhere, "--context=test"], Some("Bearer secret-token"))]
    {
        let mut program: Command = command(&["--compat=aws"]);
        program.args(&files).args(kubeconfig);
        let daemon = Daemon::run(program).await;
        within("readiness", async { while plain_get(daemon.admin, "/readyz").await.0 != 200 {} }).await;
        assert_eq!(around.api.authorization().as_deref(), authorization);
    }
}

#[test]
fn contradicting_flags_are_refused_and_the_version_is_printed() {
    let output = command(&["--port=https"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--port https: want a port"), "{}", stderr(&output));
    let output = command(&["--in-cluster=false", "--version"]).output().unwrap();
    assert!(output.status.success() && stdout(&output).contains(env!("CARGO_PKG_VERSION")), "{output:?}");
    let output = command(&["--kube-api=localhost:1", "--tls-self-signed"]).output().unwrap();
    assert!(stderr(&output).contains("--kube-api: localhost:1: want a URL"), "{}", stderr(&output));
}
