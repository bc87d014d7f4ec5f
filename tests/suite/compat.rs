//! `--compat aws`: the pods that amazon-eks-pod-identity-webhook gives. What is expected here was seen of it, in the
//! order in which it writes.

use eks_pod_identity_webhook::injection::{
    compat::Compat,
    settings::{SessionName, Settings},
};
use serde_json::{Value, json};

use crate::{
    rules::{Admitted, admit_under, review},
    support::{
        ROLE, all_recorded,
        daemon::{command, stderr, stdout},
        recorded,
    },
};

const MOUNT_PATH: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";

fn settings() -> Settings {
    Settings {
        compat: Compat::Aws,
        volume_name: "aws-iam-token".parse().unwrap(),
        token_expiration: "86400".parse().unwrap(),
        region: "eu-west-1".parse().unwrap(),
        session_name: SessionName::None,
        ..Settings::default()
    }
}

fn create_with(annotations: &[(&str, &str)], pod: &Value) -> Admitted {
    admit_under(settings(), annotations, &review("CREATE", "", pod, &Value::Null))
}

fn create(spec: Value) -> Admitted {
    create_with(&[], &json!({"metadata": {"name": "web"}, "spec": spec}))
}

/// Its only container.
fn container(admitted: &Admitted) -> &Value {
    &admitted.pod["spec"]["containers"][0]
}

fn env_names(admitted: &Admitted) -> Vec<&str> {
    let env = container(admitted)["env"].as_array().into_iter().flatten();
    env.map(|entry| entry["name"].as_str().unwrap()).collect()
}

#[test]
fn a_pod_is_given_what_the_aws_webhook_gives_in_its_order() {
    let admitted = create_with(
        &[("eks.amazonaws.com/sts-regional-endpoints", "true")],
        &json!({"metadata": {"name": "web"}, "spec": {
            "containers": [{"name": "app", "env": [{"name": "A", "value": "b"}], "volumeMounts": []}],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }}),
    );
    let volume = json!({"name": "aws-iam-token", "projected": {"sources": [{"serviceAccountToken":
        {"audience": "sts.amazonaws.com", "expirationSeconds": 86400, "path": "token"}}]}});
    assert_eq!(admitted.pod["spec"]["volumes"], json!([volume, {"name": "data", "emptyDir": {}}]));
    assert_eq!(
        *container(&admitted),
        json!({
            "name": "app",
            "env": [
                {"name": "A", "value": "b"},
                {"name": "AWS_STS_REGIONAL_ENDPOINTS", "value": "regional"},
                {"name": "AWS_DEFAULT_REGION", "value": "eu-west-1"},
                {"name": "AWS_REGION", "value": "eu-west-1"},
                {"name": "AWS_ROLE_ARN", "value": ROLE},
                {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": format!("{MOUNT_PATH}/token")},
            ],
            "volumeMounts": [{"name": "aws-iam-token", "mountPath": MOUNT_PATH, "readOnly": true}],
        })
    );
}

#[test]
fn role_and_token_file_are_a_unit() {
    for name in ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"] {
        let admitted =
            create(json!({"containers": [{"name": "app", "env": [{"name": name, "value": "mine"}]}]}));
        assert_eq!(env_names(&admitted), [name, "AWS_DEFAULT_REGION", "AWS_REGION"]);
        assert_eq!(container(&admitted)["volumeMounts"][0]["name"], "aws-iam-token");
        assert!(admitted.response["auditAnnotations"].get("role-arn").is_none(), "it has another role");
    }
}

#[test]
fn a_container_with_every_variable_is_given_no_mount_and_the_pod_its_volume() {
    let names = ["AWS_ROLE_ARN", "AWS_REGION", "AWS_STS_REGIONAL_ENDPOINTS"];
    let env: Vec<Value> = names.iter().map(|name| json!({"name": name, "value": "mine"})).collect();
    let admitted = create(json!({"containers": [{"name": "app", "env": env}]}));
    assert_eq!(env_names(&admitted), names);
    assert!(container(&admitted).get("volumeMounts").is_none());
    assert_eq!(admitted.pod["spec"]["volumes"][0]["name"], "aws-iam-token");
}

#[test]
fn compat_aws_reuses_any_volume_of_that_name() {
    let spec = json!({
        "containers": [{"name": "app", "volumeMounts": [{"name": "aws-iam-token", "mountPath": "/elsewhere"}]}],
        "volumes": [{"name": "aws-iam-token", "emptyDir": {}}],
    });
    let admitted = create(spec.clone());
    assert_eq!(admitted.pod["spec"]["volumes"], spec["volumes"]);
    assert_eq!(container(&admitted)["volumeMounts"], spec["containers"][0]["volumeMounts"]);
    assert!(admitted.is_injected("containers", 0));
}

#[test]
fn containers_are_skipped_by_the_pod_alone_and_by_their_name_to_the_letter() {
    let admitted = create_with(
        &[("eks.amazonaws.com/skip-containers", "d")],
        &json!({"metadata": {"name": "web", "annotations": {"eks.amazonaws.com/skip-containers": "a, b,c"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "d"}]}}),
    );
    let injected = [0, 1, 2, 3].map(|index| admitted.is_injected("containers", index));
    assert_eq!(injected, [false, true, false, true]);
}

#[test]
fn the_volume_is_added_where_every_container_is_skipped() {
    let admitted = create_with(
        &[],
        &json!({"metadata": {"annotations": {"eks.amazonaws.com/skip-containers": "a"}},
            "spec": {"containers": [{"name": "a"}]}}),
    );
    assert_eq!(admitted.pod["spec"]["volumes"][0]["name"], "aws-iam-token");
    assert_eq!(*container(&admitted), json!({"name": "a"}));
}

#[test]
fn windows_is_recognised_by_the_node_selector_alone() {
    for (key, value, is_windows) in [
        ("nodeSelector", json!({"kubernetes.io/os": "windows"}), true),
        ("nodeSelector", json!({"beta.kubernetes.io/os": "windows"}), true),
        ("os", json!({"name": "windows"}), false),
    ] {
        let mut spec = json!({"containers": [{"name": "app"}]});
        spec[key] = value;
        let admitted = create(spec);
        let path = container(&admitted)["env"][3]["value"].as_str().unwrap();
        assert_eq!(path.starts_with("C:"), is_windows, "{key}: {path}");
    }
}

/// The AWS webhook would add a second mount at the same path, and the API server would refuse the pod.
#[test]
fn no_pod_is_made_invalid() {
    let mounts = json!([{"name": "mine", "mountPath": MOUNT_PATH}]);
    let admitted = create(json!({"containers": [{"name": "app", "volumeMounts": mounts}]}));
    assert_eq!(container(&admitted)["volumeMounts"], mounts);
    assert!(!admitted.is_injected("containers", 0));
    assert_eq!(admitted.warnings().len(), 1);
}

#[test]
fn a_second_run_adds_nothing() {
    for name in all_recorded() {
        let mut request: Value = serde_json::from_slice(&recorded(&name)).unwrap();
        let admitted = admit_under(settings(), &[], &request);
        if admitted.response.get("patch").is_none() {
            continue;
        }
        request["request"]["object"] = admitted.pod;
        let again = admit_under(settings(), &[], &request);
        assert!(again.response.get("patch").is_none(), "{name}: {}", again.response);
        assert_ne!(again.outcome(), "injected", "{name}");
    }
}

#[test]
fn its_defaults_hold_for_what_is_not_given() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let account = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: api\n  annotations: {{eks.amazonaws.com/role-arn: '{ROLE}'}}\n"
    );
    let accounts = write("accounts.yaml", &account);
    let pod = write("pod.yaml", "kind: Pod\nspec: {serviceAccountName: api, containers: [{name: app}]}\n");
    let inject = |flags: &[&str], env: &[(&str, &str)]| -> Value {
        let mut command =
            command(&[&["mutate", "-f", &pod, "--service-accounts", &accounts, "-o=json"], flags].concat());
        let output = command.envs(env.iter().copied()).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(stdout(&output)).unwrap()
    };
    let by_flag = inject(&["--compat=aws"], &[]);
    assert_eq!(by_flag, inject(&[], &[("COMPAT", "aws")]));
    let source = "/spec/volumes/0/projected/sources/0/serviceAccountToken/expirationSeconds";
    assert_eq!(by_flag.pointer("/spec/volumes/0/name").unwrap(), "aws-iam-token");
    assert_eq!(by_flag.pointer(source).unwrap(), 86400);
    let env = by_flag["spec"]["containers"][0]["env"].as_array().unwrap();
    assert_eq!(env.len(), 2, "no region and no session name: {env:?}");

    let given = ["--compat=aws", "--token-expiration=900", "--token-volume-name=token"];
    let given = inject(&given, &[("AWS_REGION", "us-west-2")]);
    assert_eq!(given.pointer("/spec/volumes/0/name").unwrap(), "token");
    assert_eq!(given.pointer(source).unwrap(), 900);
    assert_eq!(given.pointer("/spec/containers/0/env/0/value").unwrap(), "us-west-2");
}
