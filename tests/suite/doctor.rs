//! `doctor`: a sound installation passes, and each thing that is wrong with one is found, by the program itself.

use std::{fs, process::Output};

use base64_simd::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    self,
    api_server::ApiServer,
    daemon::{command, stderr, stdout, write_kubeconfig},
    issuer::{DISCOVERY, Issuer, JWKS},
    pki::Ca,
    within,
};

const CONFIGURATIONS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const SERVICE: &str = "/api/v1/namespaces/aws-pod-identity-webhook/services/eks-pod-identity-webhook";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/aws-pod-identity-webhook/endpointslices";
const TOKEN: &str = "/api/v1/namespaces/payments/serviceaccounts/api/token";
const PODS: &str = "/api/v1/namespaces/payments/pods";

/// A cluster with a sound installation: its API server, one replica and the issuer. The replica only shakes hands.
struct Bench {
    dir: TempDir,
    cluster: ApiServer,
    replica: ApiServer,
    issuer: Issuer,
    configuration: Value,
    kubeconfig: String,
}

impl Bench {
    async fn start() -> Self {
        let (dir, ca) = (tempfile::tempdir().unwrap(), Ca::new());
        fs::write(dir.path().join("ca.crt"), ca.pem()).unwrap();
        let name = "eks-pod-identity-webhook.aws-pod-identity-webhook.svc";
        let (cluster, replica) =
            (ApiServer::start().await, ApiServer::start_tls(&ca.server_called(name)).await);
        let issuer = Issuer::start(&cluster, &ca).await;
        let kubeconfig = write_kubeconfig(dir.path(), cluster.address, None);
        let configuration = configuration(&ca.pem());
        let bench = Self { dir, cluster, replica, issuer, configuration, kubeconfig };
        bench.describe_installation();
        bench.describe_identity();
        bench
    }

    fn describe_installation(&self) {
        self.answer("/version", &json!({"gitVersion": "v1.36.2", "minor": "36"}));
        self.answer(REVIEWS, &json!({"status": {"allowed": true}}));
        self.answer(CONFIGURATIONS, &json!({"items": [self.configuration]}));
        let namespaces = ["kube-system", "aws-pod-identity-webhook", "payments"]
            .map(|name| json!({"metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}}}));
        self.answer("/api/v1/namespaces", &json!({"items": namespaces}));
        self.answer(SERVICE, &json!({"spec": {"ports": [{"port": 443}]}}));
        let address = self.replica.address;
        let endpoint = json!({"addresses": [address.ip()], "conditions": {"ready": true}});
        let slice = json!({"ports": [{"name": "webhook", "port": address.port()}], "endpoints": [endpoint, endpoint]});
        self.answer(SLICES, &json!({"items": [slice]}));
    }

    fn describe_identity(&self) {
        self.issuer.publish(&self.cluster);
        self.answer(TOKEN, &token(&self.issuer.url, "sts.amazonaws.com"));
        self.answer(PODS, &pod(&[("AWS_ROLE_ARN", support::ROLE), ("AWS_REGION", "eu-west-1")]));
    }

    fn answer(&self, path: &str, object: &Value) {
        self.cluster.answer(path, 200, &object.to_string());
    }

    fn forbid(&self, path: &str) {
        let status = json!({"kind": "Status", "status": "Failure", "code": 403, "message": "x cannot create resource"});
        self.cluster.answer(path, 403, &status.to_string());
    }

    async fn run(&self, args: &[&str]) -> Output {
        let ca = self.dir.path().join("ca.crt");
        let base =
            ["doctor", "--context=test", "--kubeconfig", &self.kubeconfig, "--ca-file", ca.to_str().unwrap()];
        let run = tokio::process::Command::from(command(&[&base, args].concat())).output();
        within("the end of doctor", run).await.unwrap()
    }

    async fn of_the_account(&self) -> Output {
        self.run(&["--service-account=payments/api"]).await
    }
}

fn configuration(ca: &str) -> Value {
    json!({"metadata": {"name": "eks-pod-identity-webhook"}, "webhooks": [{
        "name": "pod-identity.eks.amazonaws.com",
        "clientConfig": {
            "service": {"namespace": "aws-pod-identity-webhook", "name": "eks-pod-identity-webhook", "port": 443},
            "caBundle": STANDARD.encode_to_string(ca),
        },
        "rules": [{"apiGroups": [""], "operations": ["CREATE"], "resources": ["pods"]}],
        "failurePolicy": "Ignore",
        "timeoutSeconds": 5,
        "namespaceSelector": {"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn",
            "values": ["kube-system", "aws-pod-identity-webhook"]}]},
    }]})
}

fn token(issuer: &str, audience: &str) -> Value {
    let claims = json!({"iss": issuer, "aud": [audience], "sub": "system:serviceaccount:payments:api"});
    let token = format!("e30.{}.secret", URL_SAFE_NO_PAD.encode_to_string(claims.to_string()));
    json!({"status": {"token": token}})
}

fn pod(env: &[(&str, &str)]) -> Value {
    let env: Vec<_> = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({"spec": {"containers": [{"env": env}]}})
}

#[tokio::test]
async fn a_sound_installation_passes() {
    let bench = Bench::start().await;
    let output = bench.of_the_account().await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let url = &bench.issuer.url;
    for line in [
        "pass  api-server     v1.36.2",
        "pass  rights         aws-pod-identity-webhook/eks-pod-identity-webhook may do what it needs: 8 rights",
        "pass  configuration  pod-identity.eks.amazonaws.com (failurePolicy Ignore, 5 s)",
        "pass  selectors      1 of 3 namespaces are covered; excluded: kube-system, aws-pod-identity-webhook",
        "pass  service        aws-pod-identity-webhook/eks-pod-identity-webhook, port 443",
        "pass  endpoints      aws-pod-identity-webhook/eks-pod-identity-webhook: 2 replicas are ready",
        "pass  certificate    2 of 2 replicas are trusted",
        "pass  others         no other webhook",
        "pass  accounts       0 accounts give their pods an identity; no mistakes",
        &format!("pass  discovery      {url}/.well-known/openid-configuration"),
        &format!("pass  keys           {url}/openid/v1/jwks: "),
        &format!(
            "pass  token          iss {url}, aud sts.amazonaws.com, sub system:serviceaccount:payments:api"
        ),
        &format!("pass  pod            a pod of payments/api is given {}", support::ROLE),
        "pass  region         eu-west-1",
    ] {
        assert!(stdout(&output).contains(line), "lacks {line:?}:\n{}", stdout(&output));
    }
    assert!(!stdout(&output).contains("secret") && !stdout(&output).contains("FAIL"), "{}", stdout(&output));

    let output = bench.run(&["-o", "json"]).await;
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!((output.status.code(), &report["verdict"]), (Some(0), &json!("warn")), "the issuer's port");
    let skipped = report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] == "skip");
    assert_eq!(skipped.map(|finding| &finding["check"]).collect::<Vec<_>>(), ["token", "pod", "region"]);
}

#[tokio::test]
async fn each_defect_is_found() {
    let bench = Bench::start().await;
    let changed = |pointer: &str, value: Value| {
        let mut configuration = bench.configuration.clone();
        *configuration.pointer_mut(pointer).unwrap() = value;
        json!({"items": [configuration]})
    };
    let other = Ca::new().pem();
    for (path, answer, wanted) in [
        (
            "/version",
            json!({"gitVersion": "v1.29.1", "minor": "29"}),
            "FAIL  api-server     v1.29.1 is older",
        ),
        (REVIEWS, json!({"status": {"allowed": false}}), "may not watch serviceaccounts"),
        (
            CONFIGURATIONS,
            json!({"items": []}),
            "FAIL  configuration  eks-pod-identity-webhook: there is none",
        ),
        (
            CONFIGURATIONS,
            changed("/webhooks/0/namespaceSelector", json!({"matchLabels": {"aws": "yes"}})),
            "FAIL  selectors      every namespace is excluded",
        ),
        (
            CONFIGURATIONS,
            changed("/webhooks/0/clientConfig/caBundle", json!("")),
            "FAIL  certificate    caBundle of pod-identity.eks.amazonaws.com: it is empty",
        ),
        (
            CONFIGURATIONS,
            changed("/webhooks/0/clientConfig/caBundle", json!(STANDARD.encode_to_string(other))),
            "invalid peer certificate",
        ),
        (SERVICE, json!({"spec": {"ports": [{"port": 9090}]}}), "has no port 443"),
        (SLICES, json!({"items": []}), "no replica is ready"),
        (
            DISCOVERY,
            json!({"issuer": "kubernetes/serviceaccount"}),
            r#"FAIL  issuer         "kubernetes/serviceaccount""#,
        ),
        (
            JWKS,
            json!({"keys": [{"kty": "RSA", "kid": "new", "alg": "RS256"}]}),
            "new (RS256): a key of the cluster that is not",
        ),
        (TOKEN, token("https://other.test", "sts.amazonaws.com"), r#"the token is of "https://other.test""#),
        (TOKEN, token(&bench.issuer.url, "vault"), "without sts.amazonaws.com"),
        (PODS, pod(&[("OTHER", "x")]), "a pod of payments/api is given no role"),
    ] {
        bench.answer(path, &answer);
        let output = bench.of_the_account().await;
        assert_eq!(output.status.code(), Some(1), "{wanted}: {}", stdout(&output));
        assert!(stdout(&output).contains(wanted), "lacks {wanted:?}:\n{}", stdout(&output));
        bench.describe_installation();
        bench.describe_identity();
    }
}

#[tokio::test]
async fn bad_values_are_refused_with_what_is_wanted() {
    let bench = Bench::start().await;
    for (flag, wanted) in [
        ("--service-account=api", "want NAMESPACE/NAME"),
        ("--namespace=", "a name has at most 253 characters"),
        ("--tls-secret-name=A", "a name has at most 253 characters"),
    ] {
        let output = bench.run(&[flag]).await;
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
}

#[tokio::test]
async fn risky_settings_are_warnings() {
    let bench = Bench::start().await;
    let mut second = bench.configuration.clone();
    second["metadata"]["name"] = json!("pod-identity-webhook");
    bench.answer(CONFIGURATIONS, &json!({"items": [bench.configuration, second]}));
    bench.answer(PODS, &pod(&[("AWS_ROLE_ARN", support::ROLE)]));
    let output = bench.of_the_account().await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    for line in [
        "warn  others         the MutatingWebhookConfiguration pod-identity-webhook is for the same annotations",
        "warn  region         a pod of payments/api is given none",
    ] {
        assert!(stdout(&output).contains(line), "lacks {line:?}:\n{}", stdout(&output));
    }
}

#[tokio::test]
async fn checks_without_rights_or_reach_are_skipped_with_the_remedy() {
    let mut bench = Bench::start().await;
    bench.replica.stop().await;
    let output = bench.of_the_account().await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).contains("can't be reached from here"), "{}", stdout(&output));

    for path in [REVIEWS, CONFIGURATIONS, DISCOVERY, TOKEN, PODS] {
        bench.forbid(path);
    }
    let output = bench.of_the_account().await;
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let said = stdout(&output);
    assert_eq!(said.lines().filter(|line| line.starts_with("skip")).count(), 5, "{said}");
    for rule in ["[subjectaccessreviews]", "[mutatingwebhookconfigurations]", "issuer-discovery", "[pods]"] {
        assert!(said.contains(rule), "lacks {rule:?}: {said}");
    }

    bench.cluster.stop().await;
    let output = bench.of_the_account().await;
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    assert!(said.starts_with("FAIL  api-server  no answer: ") && said.lines().count() == 2, "{said}");
}

#[tokio::test]
async fn mistakes_in_annotations_and_accounts_that_are_left_out_are_warned_of() {
    let bench = Bench::start().await;
    bench.cluster.apply("kube-system", "ebs-csi", json!({support::ROLE_ANNOTATION: support::ROLE}));
    bench.cluster.apply("payments", "api", json!({support::ROLE_ANNOTATION: support::ROLE}));
    bench.cluster.apply("payments", "misspelt", json!({"eks.amazonaws.com/Role-ARN": support::ROLE}));
    let output = bench.of_the_account().await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    for line in [
        r#"warn  accounts       payments/misspelt: annotation "eks.amazonaws.com/Role-ARN" is ignored; did you mean eks.amazonaws.com/role-arn?"#,
        "warn  accounts       kube-system/ebs-csi: annotated, in a namespace that namespaceSelector excludes",
    ] {
        assert!(stdout(&output).contains(line), "lacks {line:?}:\n{}", stdout(&output));
    }
}
