//! `audit`: the pods of a cluster that lack what the webhook would have given them, and the exit code.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{
    ROLE, ROLE_ANNOTATION,
    api_server::ApiServer,
    daemon::{command, stderr, stdout, write_kubeconfig},
    recorded, within,
};

/// Runs it against that cluster.
async fn audit(api: &ApiServer, args: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = write_kubeconfig(dir.path(), api.address, None);
    let args = [&["audit", "--context=test", "--kubeconfig", &kubeconfig], args].concat();
    let run = tokio::process::Command::from(command(&args)).output();
    within("the end of audit", run).await.unwrap()
}

/// The pod of a recorded request, as it is stored if no webhook is there.
fn recorded_pod(name: &str) -> Value {
    let review: Value = serde_json::from_slice(&recorded(name)).unwrap();
    let mut pod = review["request"]["object"].clone();
    pod["metadata"]["namespace"] = review["request"]["namespace"].clone();
    pod
}

/// A pod of a Deployment.
fn pod(deployment: &str, number: usize) -> Value {
    let mut pod = recorded_pod("minimal");
    pod["metadata"]["name"] = json!(format!("{deployment}-5d4f-{number}"));
    pod["metadata"]["labels"] = json!({"pod-template-hash": "5d4f"});
    pod["metadata"]["ownerReferences"] =
        json!([{"kind": "ReplicaSet", "name": format!("{deployment}-5d4f"), "controller": true}]);
    pod
}

async fn cluster() -> ApiServer {
    let api = ApiServer::start().await;
    api.apply("payments", "api", json!({ROLE_ANNOTATION: ROLE}));
    api.apply("payments", "plain", json!({}));
    api.apply("payments", "default", json!({}));
    api
}

#[tokio::test]
async fn missed_pods_are_found_with_their_owner_and_the_remedy() {
    let api = cluster().await;
    for number in 0..230 {
        api.create_pod(pod("api", number));
    }
    api.create_pod(recorded_pod("already-mutated"));
    api.create_pod(recorded_pod("unannotated-account"));
    let output = audit(&api, &[]).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        format!(
            "NAMESPACE  OWNER           PODS  IDENTITY  ROLE\n\
             payments   deployment/api  230   missing   {ROLE}, of account api\n\n\
             to do:\n  kubectl rollout restart -n payments deployment/api\n\n\
             232 pods: 1 have their identity, 230 lack it\n"
        )
    );
    assert_eq!((api.pod_pages(), api.asked_for_whole_objects()), (2, 0));
}

#[tokio::test]
async fn sound_pods_are_not_reported() {
    let api = cluster().await;
    let with = |key: &str, value: Value| {
        let mut pod = pod("odd", 1);
        *pod.pointer_mut(key).unwrap() = value;
        pod
    };
    api.create_pod(recorded_pod("already-mutated"));
    api.create_pod(recorded_pod("mirror-pod"));
    api.create_pod(with("/metadata/labels", json!({"eks.amazonaws.com/skip-pod-identity-webhook": ""})));
    let mut terminating = pod("api", 2);
    terminating["metadata"]["deletionTimestamp"] = json!("2026-11-24T12:00:00Z");
    api.create_pod(terminating);
    for phase in ["Succeeded", "Failed"] {
        let mut finished = pod("api", 3);
        finished["status"] = json!({"phase": phase});
        api.create_pod(finished);
    }
    api.create_pod(with("/spec/serviceAccountName", json!("newer")));
    let output = audit(&api, &[]).await;
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(
        stdout(&output),
        "4 pods: 1 have their identity, 0 lack it; 1 are skipped, although their account has one; \
         1 have a ServiceAccount that is newer than this audit or deleted\n"
    );
}

#[tokio::test]
async fn an_outdated_role_is_reported_and_json_lists_each_pod() {
    let api = cluster().await;
    api.create_pod(recorded_pod("already-mutated"));
    let new = "arn:aws:iam::111122223333:role/new";
    api.apply("payments", "api", json!({ROLE_ANNOTATION: new}));
    let output = audit(&api, &["-o", "json", "--namespace=payments"]).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(
        (&report["verdict"], &report["pods"], &report["lacking"]),
        (&json!("lacking"), &json!(1), &json!(1))
    );
    let owner = &report["owners"][0];
    assert_eq!((&owner["namespace"], &owner["identity"]), (&json!("payments"), &json!("outdated")));
    let pod = &owner["pods"][0];
    assert_eq!((&pod["has"], &pod["role"]), (&json!(ROLE), &json!(new)));
    assert_eq!((&pod["serviceAccount"], &pod["lacks"]), (&json!("api"), &json!(["AWS_ROLE_ARN"])));

    // A name that is mistyped is not green without a word.
    let typo = audit(&api, &["--namespace=payment"]).await;
    assert_eq!(stderr(&typo), "warning: --namespace payment: no pods there; is that its name?\n");

    // To the AWS webhook, a pod that has the token's file has a role, whichever.
    let as_aws =
        audit(&api, &["--compat=aws", "--token-volume-name=aws-token", "--aws-region=us-east-1"]).await;
    assert_eq!(as_aws.status.code(), Some(3), "{}", stderr(&as_aws));
    assert!(stdout(&as_aws).contains("outdated"), "{}", stdout(&as_aws));
}

#[tokio::test]
async fn the_flags_say_which_pods_and_what_is_expected_of_them() {
    let api = cluster().await;
    api.create_pod(pod("api", 1));
    for (args, code) in [
        (&["--namespace=payments"][..], 3),
        (&["--namespace=other"], 0),
        (&["--excluded-namespaces=kube-system,payments"], 0),
        (&["--annotation-prefix=example.com"], 0),
        (&["--aws-region=mars!"], 2),
    ] {
        let output = audit(&api, args).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}{}", stdout(&output), stderr(&output));
    }
}

#[tokio::test]
async fn roles_of_a_config_map_and_container_credentials_are_expected_where_they_are_named() {
    let api = cluster().await;
    api.create_pod(recorded_pod("unannotated-account"));
    let config = json!({"payments/plain": {"RoleARN": ROLE}}).to_string();
    let config_map = json!({"kind": "ConfigMap", "data": {"config": config}}).to_string();
    api.answer("/api/v1/namespaces/webhook/configmaps/pod-identity-webhook", 200, &config_map);
    let file = tempfile::NamedTempFile::new().unwrap();
    let identities = json!({"identities": [{"namespace": "payments", "serviceAccount": "plain"}]});
    std::fs::write(file.path(), identities.to_string()).unwrap();
    let of_file = format!("--watch-container-credentials-config={}", file.path().display());
    assert_eq!(audit(&api, &[]).await.status.code(), Some(0));
    for (arg, lacking) in [
        ("--config-map-namespace=webhook", "AWS_ROLE_ARN"),
        (&*of_file, "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    ] {
        let output = audit(&api, &["--output=json", arg]).await;
        assert_eq!(output.status.code(), Some(3), "{arg}: {}", stderr(&output));
        assert!(stdout(&output).contains(lacking), "{arg}: {}", stdout(&output));
    }
}

#[tokio::test]
async fn mistakes_of_pods_are_reported_once_by_owner() {
    let api = cluster().await;
    for number in 0..3 {
        let mut pod = pod("api", number);
        pod["spec"]["containers"][0]["env"] = json!([{"name": "AWS_ACCESS_KEY_ID", "value": "x"}]);
        pod["metadata"]["annotations"] = json!({"eks.amazonaws.com/skip-containers": "typo"});
        api.create_pod(pod);
    }
    let mut misplaced = recorded_pod("unannotated-account");
    misplaced["metadata"]["annotations"] = json!({ROLE_ANNOTATION: ROLE});
    api.create_pod(misplaced);
    let output = audit(&api, &[]).await;
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let warnings: Vec<_> = stdout(&output).lines().filter(|line| line.starts_with("warning: ")).collect();
    let expected = [
        r#"warning: deployment/api of namespace payments: AWS_ACCESS_KEY_ID is set in container "app": SDKs use it instead of the injected identity"#,
        "warning: deployment/api of namespace payments: pod annotation eks.amazonaws.com/skip-containers matches no container of the pod, unless another webhook adds it later",
        "warning: pod/plain of namespace payments: pod annotation \"eks.amazonaws.com/role-arn\" is read on ServiceAccounts only; annotate the pod's ServiceAccount",
    ];
    assert_eq!(warnings, expected);
    let report: Value = serde_json::from_str(stdout(&audit(&api, &["--output=json"]).await)).unwrap();
    assert_eq!(report["podMistakes"][0]["mistakes"].as_array().unwrap().len(), 2);
    assert_eq!(report["podMistakes"][1]["kind"], "Pod");
}

#[tokio::test]
async fn roles_that_the_role_policy_would_refuse_are_listed() {
    let api = cluster().await;
    api.apply("orders", "db", json!({ROLE_ANNOTATION: "arn:aws:iam::111122223333:role/orders-db"}));
    api.apply_namespace(
        "payments",
        json!({"eks.amazonaws.com/permitted-roles": "arn:aws:iam::*:role/other-*"}),
    );
    api.apply_namespace("orders", json!({}));
    api.create_pod(recorded_pod("already-mutated"));
    api.create_pod(recorded_pod("unannotated-account"));
    let config = json!({"payments/plain": {"RoleARN": ROLE}}).to_string();
    let config_map = json!({"kind": "ConfigMap", "data": {"config": config}}).to_string();
    api.answer("/api/v1/namespaces/webhook/configmaps/pod-identity-webhook", 200, &config_map);
    let mapped = "--config-map-namespace=webhook";
    assert!(!stdout(&audit(&api, &[mapped]).await).contains("permits"));

    // The account `plain` is not given its role under this policy, so its pod lacks nothing.
    let output = audit(&api, &["--role-policy", mapped]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let permits = "the namespace payments permits arn:aws:iam::*:role/other-* (annotation \
        eks.amazonaws.com/permitted-roles of the Namespace), not";
    for name in ["api", "plain"] {
        let expected = format!("warning: ServiceAccount payments/{name}: {permits} {ROLE}\n");
        assert!(stdout(&output).contains(&expected), "{}", stdout(&output));
    }
    assert!(!stdout(&output).contains("orders"), "{}", stdout(&output));

    let default = "--role-policy=arn:aws:iam::111122223333:role/{namespace}/*";
    let report: Value =
        serde_json::from_str(stdout(&audit(&api, &[default, "--output=json"]).await)).unwrap();
    let expected = json!([
        {"namespace": "orders", "name": "db", "role": "arn:aws:iam::111122223333:role/orders-db",
            "permitted": "arn:aws:iam::111122223333:role/orders/*"},
        {"namespace": "payments", "name": "api", "role": ROLE, "permitted": "arn:aws:iam::*:role/other-*"},
    ]);
    assert_eq!(report["refused"], expected);

    api.fail_namespaces(&[403]);
    let output = audit(&api, &["--role-policy"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("resources: [namespaces], verbs: [list]"), "{}", stderr(&output));
    assert_eq!(audit(&api, &["--role-policy=payments-*"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn a_missing_right_to_list_is_named_with_its_rule() {
    let forbidden =
        json!({"kind": "Status", "status": "Failure", "code": 403, "message": "not for you"}).to_string();
    for resource in ["pods", "serviceaccounts"] {
        let api = cluster().await;
        api.answer(&format!("/api/v1/{resource}"), 403, &forbidden);
        let output = audit(&api, &[]).await;
        assert_eq!(output.status.code(), Some(1));
        let rule = format!("resources: [{resource}], verbs: [list]");
        for part in ["not for you", &format!("can't list {resource}"), &rule] {
            assert!(stderr(&output).contains(part), "{}", stderr(&output));
        }
        assert!(output.stdout.is_empty());
    }
}

#[tokio::test]
async fn mistakes_in_annotations_and_excluded_accounts_are_reported() {
    let api = cluster().await;
    api.apply("kube-system", "ebs-csi", json!({ROLE_ANNOTATION: ROLE}));
    api.apply(
        "shop",
        "misspelt",
        json!({"eks.amazonaws.com/role-arm": ROLE, "eks.amazon.com/role-arn": ROLE}),
    );
    api.apply(
        "shop",
        "odd",
        json!({ROLE_ANNOTATION: "arn:aws:iam::1:role", "eks.amazonaws.com/token-expiration": "x",
            "eks.amazonaws.com/audiences": "y"}),
    );
    api.apply(
        "shop",
        "others",
        json!({"eks.amazonaws.com/compute-type": "fargate", "example.com/role-arn": "x"}),
    );
    let output = audit(&api, &["--excluded-namespaces=kube-system"]).await;
    assert_eq!(output.status.code(), Some(0), "mistakes are warnings: {}", stderr(&output));
    for line in [
        r#"warning: ServiceAccount shop/misspelt: annotation "eks.amazonaws.com/role-arm" is ignored; did you mean eks.amazonaws.com/role-arn?"#,
        r#"warning: ServiceAccount shop/misspelt: annotation "eks.amazon.com/role-arn" is ignored; did you mean eks.amazonaws.com/role-arn?"#,
        "warning: ServiceAccount shop/odd: annotation eks.amazonaws.com/role-arn: ",
        "warning: ServiceAccount shop/odd: annotation eks.amazonaws.com/token-expiration: ",
        "warning: namespace kube-system is excluded, and has accounts with an identity: ebs-csi",
    ] {
        assert!(stdout(&output).contains(line), "lacks {line:?}: {}", stdout(&output));
    }
    assert_eq!(
        stdout(&output).matches("did you mean").count(),
        3,
        "each is reported once: {}",
        stdout(&output)
    );
    assert!(!stdout(&output).contains("shop/others"), "{}", stdout(&output));

    let output = audit(&api, &["--excluded-namespaces=kube-system", "--output=json"]).await;
    let report: Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(report["excluded"], json!({"kube-system": ["ebs-csi"]}));
    let names: Vec<_> =
        report["accounts"].as_array().unwrap().iter().map(|account| &account["name"]).collect();
    assert_eq!(names, ["misspelt", "odd"]);
}
