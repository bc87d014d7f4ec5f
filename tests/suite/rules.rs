//! The rules that the recorded requests don't show, one test for each.

use std::sync::Arc;

use eks_pod_identity_webhook::{
    admission::{Buffers, Webhook},
    injection::{
        account::Account,
        resolver::Resolver,
        settings::{RoleOwner, Settings},
    },
};
use serde_json::{Value, json};

use crate::support::{self, ROLE, ROLE_ANNOTATION};

const MOUNT_PATH: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";

/// What a pod's admission comes to.
pub(crate) struct Admitted {
    pub(crate) pod: Value,
    pub(crate) response: Value,
}

impl Admitted {
    fn env(&self, list: &str, index: usize, name: &str) -> Option<&Value> {
        let env = self.pod["spec"][list][index]["env"].as_array()?;
        let mut found = env.iter().filter(|entry| entry["name"] == name);
        let first = found.next();
        assert!(found.next().is_none(), "{name} twice: {}", self.pod);
        first.map(|entry| entry.get("value").unwrap_or(entry))
    }

    pub(crate) fn is_injected(&self, list: &str, index: usize) -> bool {
        self.env(list, index, "AWS_ROLE_ARN").is_some()
    }

    pub(crate) fn outcome(&self) -> &str {
        self.response["auditAnnotations"]["outcome"].as_str().unwrap()
    }

    pub(crate) fn warnings(&self) -> Vec<&str> {
        self.response["warnings"].as_array().into_iter().flatten().map(|w| w.as_str().unwrap()).collect()
    }

    fn token_volume(&self) -> &Value {
        &self.pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    }
}

pub(crate) fn review(operation: &str, subresource: &str, pod: &Value, old: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": operation,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": subresource,
            "namespace": "payments",
            "object": pod,
            "oldObject": old,
        },
    })
}

pub(crate) fn admit_under(settings: Settings, annotations: &[(&str, &str)], review: &Value) -> Admitted {
    let settings = Arc::new(settings);
    let annotations = annotations.iter().copied().chain([(ROLE_ANNOTATION, ROLE)]);
    let account = Resolver::new(Arc::clone(&settings)).resolve(annotations);
    let mut body = serde_json::to_vec(review).unwrap();
    let look_up = |_: &str, _: &str| Some(account.clone());
    Webhook::new(settings).admit(&mut body, &mut Buffers::default(), look_up).unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let mut pod = review["request"]["object"].clone();
    if let Some(patch) = support::patch_of(&answer) {
        json_patch::patch(&mut pod, &patch.0).unwrap();
    }
    Admitted { pod, response: answer["response"].clone() }
}

fn create_with(annotations: &[(&str, &str)], pod: &Value) -> Admitted {
    admit_under(Settings::default(), annotations, &review("CREATE", "", pod, &Value::Null))
}

fn create(pod: &Value) -> Admitted {
    create_with(&[], pod)
}

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": spec})
}

fn pod_annotated(annotations: Value, names: &[&str]) -> Value {
    let containers: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
    json!({"metadata": {"name": "web", "annotations": annotations}, "spec": {"containers": containers}})
}

#[test]
fn the_account_name_falls_back_as_in_kubernetes() {
    for (spec, expected) in [
        (json!({"serviceAccountName": "a", "serviceAccount": "b"}), "a"),
        (json!({"serviceAccountName": "", "serviceAccount": "b"}), "b"),
        (json!({}), "default"),
    ] {
        let review = review("CREATE", "", &pod(spec), &Value::Null);
        let mut asked = None;
        let answer = support::admit(review.to_string(), |namespace, name| {
            asked = Some((namespace.to_owned(), name.to_owned()));
            None
        });
        assert!(answer.unwrap().is_none(), "unknown is not answered");
        assert_eq!(asked, Some(("payments".to_owned(), expected.to_owned())));
    }
}

#[test]
fn annotations_of_the_account_apply() {
    let admitted = create_with(
        &[
            ("eks.amazonaws.com/audience", "vault"),
            ("eks.amazonaws.com/token-expiration", "7200"),
            ("eks.amazonaws.com/region", "eu-west-1"),
            ("eks.amazonaws.com/sts-regional-endpoints", "true"),
            ("eks.amazonaws.com/skip-containers", "b"),
        ],
        &pod_annotated(json!({}), &["a", "b"]),
    );
    assert_eq!(
        *admitted.token_volume(),
        json!({"audience": "vault", "expirationSeconds": 7200, "path": "token"})
    );
    assert_eq!(admitted.env("containers", 0, "AWS_REGION").unwrap(), "eu-west-1");
    assert_eq!(admitted.env("containers", 0, "AWS_DEFAULT_REGION").unwrap(), "eu-west-1");
    assert_eq!(admitted.env("containers", 0, "AWS_STS_REGIONAL_ENDPOINTS").unwrap(), "regional");
    assert!(!admitted.is_injected("containers", 1));
    assert!(admitted.warnings().is_empty());
}

#[test]
fn annotations_of_the_pod_stand_over_the_account() {
    let of_account = [
        ("eks.amazonaws.com/token-expiration", "7200"),
        ("eks.amazonaws.com/region", "eu-west-1"),
        ("eks.amazonaws.com/skip-containers", "a"),
        ("eks.amazonaws.com/include-containers", "a"),
    ];
    let of_pod = json!({
        "eks.amazonaws.com/token-expiration": "900",
        "eks.amazonaws.com/region": "us-west-2",
        "eks.amazonaws.com/skip-containers": "b",
        "eks.amazonaws.com/include-containers": " a , b",
    });
    let admitted = create_with(&of_account, &pod_annotated(of_pod, &["a", "b", "c"]));
    assert_eq!(admitted.token_volume()["expirationSeconds"], 900);
    assert_eq!(admitted.env("containers", 0, "AWS_REGION").unwrap(), "us-west-2");
    assert!(admitted.is_injected("containers", 0));
    assert!(!admitted.is_injected("containers", 1), "skipped although included");
    assert!(!admitted.is_injected("containers", 2), "not included");
}

#[test]
fn an_empty_region_injects_none_from_any_source() {
    let names = ["a"];
    let of_pod = create(&pod_annotated(json!({"eks.amazonaws.com/region": ""}), &names));
    let of_account = create_with(&[("eks.amazonaws.com/region", "")], &pod_annotated(json!({}), &names));
    let settings = Settings { region: "".parse().unwrap(), ..Settings::default() };
    let review = review("CREATE", "", &pod_annotated(json!({}), &names), &Value::Null);
    for admitted in [of_pod, of_account, admit_under(settings, &[], &review)] {
        assert!(admitted.is_injected("containers", 0));
        assert!(admitted.env("containers", 0, "AWS_REGION").is_none());
        assert!(admitted.env("containers", 0, "AWS_DEFAULT_REGION").is_none());
    }
}

#[test]
fn a_bad_expiration_of_the_pod_falls_back_to_the_account_with_a_warning() {
    let pod = pod_annotated(json!({"eks.amazonaws.com/token-expiration": "an hour"}), &["a"]);
    let admitted = create_with(&[("eks.amazonaws.com/token-expiration", "7200")], &pod);
    assert_eq!(admitted.token_volume()["expirationSeconds"], 7200);
    assert_eq!(
        admitted.warnings(),
        [
            r#"pod annotation eks.amazonaws.com/token-expiration: "an hour" is not a whole number of seconds; ignored"#
        ]
    );
}

#[test]
fn a_malformed_arn_is_injected_with_a_warning() {
    let admitted = create_with(&[(ROLE_ANNOTATION, "x"), ("x", "y")], &pod_annotated(json!({}), &["a"]));
    assert!(
        admitted.warnings().is_empty(),
        "the later annotation of the helper wins: {:?}",
        admitted.warnings()
    );

    let account = support::account(&[(ROLE_ANNOTATION, " my-role\n")]);
    let review = review("CREATE", "", &pod_annotated(json!({}), &["a"]), &Value::Null);
    let answer = support::admit(review.to_string(), |_, _| Some(account.clone())).unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["response"]["auditAnnotations"]["role-arn"], "my-role");
    let warning = answer["response"]["warnings"][0].as_str().unwrap();
    assert!(warning.contains(r#"role-arn: "my-role" is not a role ARN"#), "{warning}");
    assert!(warning.contains("--aws-account-id"), "{warning}");
}

#[test]
fn a_short_name_is_completed_where_the_account_id_is_given() {
    let owner =
        RoleOwner { partition: "aws-us-gov".parse().unwrap(), account_id: "111122223333".parse().unwrap() };
    let region = "us-gov-west-1".parse().unwrap();
    let settings = Settings { role_owner: Some(owner), region, ..Settings::default() };
    let review = review("CREATE", "", &pod_annotated(json!({}), &["a"]), &Value::Null);
    for (role, arn, warnings) in [
        ("my-role", "arn:aws-us-gov:iam::111122223333:role/my-role", 0),
        ("/team/my-role", "arn:aws-us-gov:iam::111122223333:role/team/my-role", 0),
        (ROLE, ROLE, 1),
        ("${ROLE}", "arn:aws-us-gov:iam::111122223333:role/${ROLE}", 1),
    ] {
        let account = Resolver::new(Arc::new(settings.clone())).resolve([(ROLE_ANNOTATION, role)]);
        let answer = support::admit(review.to_string(), |_, _| Some(account.clone())).unwrap().unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["response"]["auditAnnotations"]["role-arn"], arn);
        assert_eq!(answer["response"]["warnings"].as_array().map_or(0, Vec::len), warnings, "{answer}");
    }
}

#[test]
fn variables_that_a_container_has_are_never_overwritten() {
    let admitted = create(&pod(json!({"containers": [
        {"name": "a", "env": [{"name": "AWS_ROLE_ARN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
        {"name": "b", "env": [{"name": "AWS_DEFAULT_REGION", "value": "x"}]},
    ]})));
    assert!(admitted.env("containers", 0, "AWS_ROLE_ARN").unwrap().get("valueFrom").is_some());
    assert!(admitted.env("containers", 0, "AWS_WEB_IDENTITY_TOKEN_FILE").is_some());
    assert!(admitted.env("containers", 1, "AWS_REGION").is_none(), "the region is one unit");
    assert!(admitted.env("containers", 1, "AWS_ROLE_ARN").is_some());
}

#[test]
fn foreign_volumes_are_skipped_and_ours_are_reused() {
    let foreign = |name: &str| json!({"name": name, "emptyDir": {}});
    let token = |name: &str, audience: &str, path: &str| {
        let source = json!({"serviceAccountToken": {"audience": audience, "path": path}});
        json!({"name": name, "projected": {"sources": [{"configMap": {"name": "x"}}, source]}})
    };
    let ours = "sts.amazonaws.com";
    for (volumes, used, added) in [
        (json!([foreign("aws-token")]), "aws-token-2", true),
        (json!([foreign("aws-token"), foreign("aws-token-2")]), "aws-token-3", true),
        (json!([foreign("aws-token-2")]), "aws-token", true),
        (json!([token("aws-token", "vault", "token")]), "aws-token-2", true),
        (json!([token("aws-token", ours, "other")]), "aws-token-2", true),
        (json!([token("aws-token", ours, "token")]), "aws-token", false),
        (json!([foreign("aws-token"), token("aws-token-2", ours, "token")]), "aws-token-2", false),
        (json!([foreign("aws-token-99")]), "aws-token", true),
        (json!([foreign("aws-token"), foreign("aws-token-999999999999")]), "aws-token-2", true),
        (json!(null), "aws-token", true),
    ] {
        let admitted = create(&pod(json!({"volumes": volumes, "containers": [{"name": "a"}]})));
        assert_eq!(admitted.pod["spec"]["containers"][0]["volumeMounts"][0]["name"], used, "{volumes}");
        let count = admitted.pod["spec"]["volumes"].as_array().unwrap().len();
        assert_eq!(count - volumes.as_array().map_or(0, Vec::len), usize::from(added), "{volumes}");
    }
}

#[test]
fn a_container_with_something_else_at_the_mount_path_is_left_alone_with_a_warning() {
    let mounted = |path: &str| json!({"name": "a", "volumeMounts": [{"name": "other", "mountPath": path}]});
    let device = json!({"name": "a", "volumeDevices": [{"name": "raw", "devicePath": MOUNT_PATH}]});
    for container in [mounted(MOUNT_PATH), mounted(&format!("{MOUNT_PATH}/")), device] {
        let admitted = create(&pod(json!({"containers": [container.clone()]})));
        assert_eq!(admitted.pod["spec"]["containers"][0], container);
        assert!(admitted.pod["spec"].get("volumes").is_none(), "no container, no volume");
        assert_eq!((admitted.outcome(), admitted.warnings().len()), ("skipped", 1));
    }
}

#[test]
fn a_mount_of_ours_without_its_volume_gets_the_volume() {
    let mount = json!([{"name": "aws-token", "mountPath": format!("{MOUNT_PATH}/")}]);
    let admitted = create(&pod(json!({"containers": [{"name": "a", "volumeMounts": mount}]})));
    assert_eq!(admitted.pod["spec"]["containers"][0]["volumeMounts"], mount);
    assert_eq!(admitted.pod["spec"]["volumes"][0]["name"], "aws-token");
}

#[test]
fn windows_is_recognised_by_the_demands_of_the_pod() {
    let affinity = |terms: Value| {
        json!({"affinity": {"nodeAffinity":
            {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
    };
    let term = |key: &str, operator: &str, values: Value| {
        json!({"matchExpressions": [
            {"key": "zone", "operator": "Exists"},
            {"key": key, "operator": operator, "values": values},
        ]})
    };
    let windows = term("kubernetes.io/os", "In", json!(["windows"]));
    for (spec, is_windows) in [
        (json!({"os": {"name": "windows"}}), true),
        (json!({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "windows"}}), false),
        (json!({"nodeSelector": {"kubernetes.io/os": "windows"}}), true),
        (json!({"nodeSelector": {"beta.kubernetes.io/os": "windows"}}), true),
        (json!({"nodeSelector": {"kubernetes.io/os": "linux"}}), false),
        (affinity(json!([windows])), true),
        (affinity(json!([windows, term("beta.kubernetes.io/os", "In", json!(["windows"]))])), true),
        (affinity(json!([windows, term("kubernetes.io/os", "In", json!(["linux"]))])), false),
        (affinity(json!([windows, {}])), false),
        (affinity(json!([])), false),
        (affinity(json!([term("kubernetes.io/os", "In", json!(["windows", "linux"]))])), false),
        (affinity(json!([term("kubernetes.io/os", "NotIn", json!(["windows"]))])), false),
        (affinity(json!(null)), false),
        (json!({}), false),
    ] {
        let mut pod = pod(spec.clone());
        pod["spec"]["containers"] = json!([{"name": "a"}]);
        let admitted = create(&pod);
        let file = admitted.env("containers", 0, "AWS_WEB_IDENTITY_TOKEN_FILE").unwrap();
        let expected = if is_windows {
            r"C:\var\run\secrets\eks.amazonaws.com\serviceaccount\token".to_owned()
        } else {
            format!("{MOUNT_PATH}/token")
        };
        assert_eq!(*file, expected, "{spec}");
        assert_eq!(admitted.pod["spec"]["containers"][0]["volumeMounts"][0]["mountPath"], MOUNT_PATH);
    }
}

#[test]
fn ephemeral_containers_of_a_pod_with_the_volume_are_injected_once() {
    let injected = create(&pod(json!({"containers": [{"name": "a"}]}))).pod;
    let with = |ephemeral: Value| {
        let mut pod = injected.clone();
        pod["spec"]["ephemeralContainers"] = ephemeral;
        pod
    };
    let update = |pod: &Value, old: &Value| {
        admit_under(Settings::default(), &[], &review("UPDATE", "ephemeralcontainers", pod, old))
    };
    let admitted = update(&with(json!([{"name": "old"}, {"name": "new"}])), &with(json!([{"name": "old"}])));
    assert!(!admitted.is_injected("ephemeralContainers", 0), "it can't be changed any more");
    assert!(admitted.is_injected("ephemeralContainers", 1));
    assert_eq!(admitted.env("ephemeralContainers", 1, "AWS_ROLE_SESSION_NAME").unwrap(), "web");
    assert_eq!(admitted.pod["spec"]["containers"], injected["spec"]["containers"]);

    let bare = pod(json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "new"}]}));
    let admitted = update(&bare, &pod(json!({"containers": [{"name": "a"}]})));
    assert_eq!(admitted.outcome(), "skipped");
    assert_eq!(admitted.pod, bare);
}

#[test]
fn exempt_pods_need_no_account() {
    let labelled =
        json!({"metadata": {"labels": {"eks.amazonaws.com/skip-pod-identity-webhook": ""}}, "spec": {}});
    let mirror = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": {}});
    let plain = pod(json!({"containers": [{"name": "a"}]}));
    for review in [
        review("CREATE", "", &labelled, &Value::Null),
        review("CREATE", "", &mirror, &Value::Null),
        review("UPDATE", "", &plain, &plain),
        review("UPDATE", "status", &plain, &plain),
        review("UPDATE", "resize", &plain, &plain),
        review("CREATE", "binding", &json!({"target": {}}), &Value::Null),
        review("CONNECT", "exec", &json!({"kind": "PodExecOptions"}), &Value::Null),
        review("DELETE", "", &Value::Null, &plain),
    ] {
        let answer = support::admit(review.to_string(), |_, _| panic!("looked up for {review}"));
        let answer: Value = serde_json::from_slice(&answer.unwrap().unwrap().body).unwrap();
        assert_eq!(answer["response"]["allowed"], true);
        assert_eq!(answer["response"]["auditAnnotations"], json!({"outcome": "skipped"}));
        assert!(support::patch_of(&answer).is_none());
    }
}

#[test]
fn other_settings_are_injected_everywhere() {
    let settings = Settings {
        annotation_prefix: "example.com".parse().unwrap(),
        token_audience: "aws".parse().unwrap(),
        token_expiration: "86400".parse().unwrap(),
        mount_path: "/token".parse().unwrap(),
        volume_name: "identity".parse().unwrap(),
        region: "eu-south-1".parse().unwrap(),
        sts_regional_endpoints: true,
        ..Settings::default()
    };
    let annotations = [("example.com/role-arn", ROLE), ("example.com/sts-regional-endpoints", "false")];
    let review =
        review("CREATE", "", &pod_annotated(json!({"example.com/region": "x"}), &["a"]), &Value::Null);
    let admitted = admit_under(settings, &annotations, &review);
    assert_eq!(
        *admitted.token_volume(),
        json!({"audience": "aws", "expirationSeconds": 86400, "path": "token"})
    );
    let container = &admitted.pod["spec"]["containers"][0];
    assert_eq!(
        container["volumeMounts"],
        json!([{"name": "identity", "mountPath": "/token", "readOnly": true}])
    );
    assert_eq!(admitted.env("containers", 0, "AWS_WEB_IDENTITY_TOKEN_FILE").unwrap(), "/token/token");
    assert_eq!(admitted.env("containers", 0, "AWS_REGION").unwrap(), "x");
    assert!(admitted.env("containers", 0, "AWS_STS_REGIONAL_ENDPOINTS").is_none());
}

#[test]
fn warnings_stay_within_what_the_api_server_passes_on() {
    let containers: Vec<_> = (0..500)
        .map(|index| {
            let mounts = json!([{"name": "other", "mountPath": MOUNT_PATH}]);
            json!({"name": format!("{}-{index}", "c".repeat(59)), "volumeMounts": mounts})
        })
        .collect();
    let annotations = [("eks.amazonaws.com/token-expiration", &*"long ".repeat(50_000))];
    let spec = json!({"initContainers": [{"name": "free"}], "containers": containers});
    let admitted = create_with(&annotations, &pod(spec));
    let lengths: Vec<_> = admitted.warnings().iter().map(|warning| warning.chars().count()).collect();
    assert_eq!(lengths.len(), 2);
    assert!(lengths.iter().all(|&length| length <= 256), "{lengths:?}");
}

#[test]
fn invalid_reviews_are_refused_with_one_sentence() {
    let good = review("CREATE", "", &pod(json!({"containers": [{"name": "a"}]})), &Value::Null);
    let without = |pointer: &str, value: Value| {
        let mut review = good.clone();
        *review.pointer_mut(pointer).unwrap() = value;
        review.to_string()
    };
    for (body, sentence) in [
        (String::new(), "the body is not JSON"),
        ("{".to_owned(), "the body is not JSON"),
        ("[]".to_owned(), "the AdmissionReview is malformed: the body is not an object"),
        ("{}".to_owned(), "the body is not an AdmissionReview"),
        (without("/apiVersion", json!("admission.k8s.io/v2")), "the body is not an AdmissionReview"),
        (without("/kind", json!("Pod")), "the body is not an AdmissionReview"),
        (without("/request", json!(null)), "the AdmissionReview lacks request.uid"),
        (without("/request/uid", json!("")), "the AdmissionReview lacks request.uid"),
        (without("/request/operation", json!("create")), "request.operation is not CREATE"),
        (without("/request/resource", json!({})), "the AdmissionReview lacks request.resource.resource"),
        (without("/request/namespace", json!(7)), "request.namespace is not a string"),
        (without("/request/namespace", json!("")), "the AdmissionReview lacks request.namespace"),
        (without("/request/object", json!(null)), "the AdmissionReview lacks request.object"),
        (without("/request/object/spec", json!(null)), "the AdmissionReview lacks request.object.spec"),
        (without("/request/object/spec/containers", json!({})), "spec.containers is not an array"),
        (without("/request/object/spec/containers/0", json!(null)), "a container is not an object"),
        (without("/request/object/spec/containers/0/name", json!([])), "a container's name is not a string"),
    ] {
        let error = support::admit(body.clone(), |_, _| Some(support::account(&[(ROLE_ANNOTATION, ROLE)])));
        let error = error.unwrap_err().to_string();
        assert!(error.contains(sentence) && !error.contains('\n'), "{body}: {error}");
    }
}

#[test]
fn versions_and_ids_are_echoed() {
    for version in ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"] {
        let mut review = review("CREATE", "", &pod(json!({"containers": []})), &Value::Null);
        review["apiVersion"] = json!(version);
        review["request"]["uid"] = json!("odd \"uid\" \u{1F980}");
        let answer = support::admit(review.to_string(), |_, _| Some(Account::Nothing)).unwrap().unwrap();
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(answer["apiVersion"], version);
        assert_eq!(answer["kind"], "AdmissionReview");
        assert_eq!(answer["response"]["uid"], "odd \"uid\" \u{1F980}");
    }
}

#[test]
fn the_last_of_duplicate_keys_counts_as_in_go() {
    let body = review("CREATE", "", &pod(json!({"containers": [{"name": "a"}]})), &Value::Null).to_string();
    let body = body.replace(
        r#""containers""#,
        r#""serviceAccountName":"first","serviceAccountName":"second","containers""#,
    );
    let mut asked = String::new();
    support::admit(body, |_, name| {
        name.clone_into(&mut asked);
        None
    })
    .unwrap();
    assert_eq!(asked, "second");

    let pod = pod(
        json!({"containers": [{"name": "a", "first": [{"name": "AWS_ROLE_ARN", "value": "x"}], "env": []}]}),
    );
    let body = review("CREATE", "", &pod, &Value::Null).to_string().replace(r#""first""#, r#""env""#);
    let account = support::account(&[(ROLE_ANNOTATION, ROLE)]);
    let answer = support::admit(body, |_, _| Some(account.clone())).unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["response"]["auditAnnotations"], json!({"outcome": "injected", "role-arn": ROLE}));
}

#[test]
fn a_pod_cant_make_the_answer_huge() {
    let long = "x".repeat(100_000);
    let names: Vec<_> = (0..1000).map(|index| format!("c{index}")).collect();
    let names: Vec<_> = names.iter().map(|name| &**name).collect();
    let admitted = create(&pod_annotated(json!({"eks.amazonaws.com/region": long}), &names));
    assert_eq!(admitted.env("containers", 999, "AWS_REGION").unwrap(), "us-east-1");
    assert!(admitted.warnings()[0].contains("is not a region; ignored"), "{:?}", admitted.warnings());

    let containers: Vec<_> = std::iter::repeat_n(json!({}), 100_000).collect();
    let review = review("CREATE", "", &pod(json!({"containers": containers})), &Value::Null);
    let account = support::account(&[(ROLE_ANNOTATION, ROLE)]);
    let refused = support::admit(review.to_string(), |_, _| Some(account.clone())).unwrap_err();
    assert!(refused.to_string().contains("too many containers"), "{refused}");
}

#[test]
fn the_audit_log_names_the_role_only_where_a_container_has_it() {
    let container = |role: Value| json!({"name": "a", "env": [{"name": "AWS_ROLE_ARN", "value": role}]});
    for (containers, has_role) in [
        (json!([{"name": "a"}]), true),
        (json!([container(json!("mine"))]), false),
        (json!([container(json!(null))]), false),
        (json!([container(json!("mine")), {"name": "b"}]), true),
        (json!([container(json!(ROLE))]), true),
    ] {
        let admitted = create(&pod(json!({"containers": containers})));
        let audit = &admitted.response["auditAnnotations"];
        assert_eq!(audit.get("role-arn").is_some(), has_role, "{containers}: {audit}");
        assert_eq!(audit["outcome"], "injected");
    }
}

#[test]
fn a_role_that_is_not_injected_is_not_warned_of() {
    let account = support::account(&[(ROLE_ANNOTATION, "x"), ("eks.amazonaws.com/skip-containers", "a")]);
    let review = review("CREATE", "", &pod_annotated(json!({}), &["a"]), &Value::Null);
    let answer = support::admit(review.to_string(), |_, _| Some(account.clone())).unwrap().unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["response"]["auditAnnotations"], json!({"outcome": "skipped"}));
    assert!(answer["response"].get("warnings").is_none(), "{answer}");
}
