//! Mistakes in annotations and pods are reported to the creator of the pod, and nothing else is.

use std::sync::Arc;

use eks_pod_identity_webhook::{
    accounts::cache::State,
    admission::{Buffers, Webhook},
    injection::{
        account::Account,
        compat::Compat,
        resolver::Resolver,
        settings::{RoleOwner, SessionName, Settings},
    },
};
use serde_json::{Value, json};

use crate::{
    rules::{Admitted, admit_under, review},
    support::{self, ROLE, ROLE_ANNOTATION},
};

const MOUNT_PATH: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": spec})
}

fn one_container() -> Value {
    pod(json!({"containers": [{"name": "app"}]}))
}

fn create(annotations: &[(&str, &str)], pod: &Value) -> Admitted {
    admit_under(Settings::default(), annotations, &review("CREATE", "", pod, &Value::Null))
}

/// The answer to a pod of an account with exactly these annotations.
fn create_of(settings: Settings, annotations: &[(&str, &str)], pod: &Value) -> Value {
    let settings = Arc::new(settings);
    let account = Resolver::new(Arc::clone(&settings)).resolve(annotations.iter().copied());
    let mut body = serde_json::to_vec(&review("CREATE", "", pod, &Value::Null)).unwrap();
    let look_up = |_: &str, _: &str| Some(account.clone());
    Webhook::new(settings).admit(&mut body, &mut Buffers::default(), look_up).unwrap().unwrap();
    serde_json::from_slice(&body).unwrap()
}

fn warnings(answer: &Value) -> Vec<&str> {
    answer["response"]["warnings"].as_array().into_iter().flatten().map(|w| w.as_str().unwrap()).collect()
}

#[track_caller]
fn assert_one_warning(answer: &Value, parts: &[&str]) {
    let warnings = warnings(answer);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for part in parts {
        assert!(warnings[0].contains(part), "{warnings:?} without {part}");
    }
}

/// The values of a variable of the first container.
fn env<'a>(pod: &'a Value, name: &str) -> Vec<&'a str> {
    let env = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    env.filter(|entry| entry["name"] == name).map(|entry| entry["value"].as_str().unwrap()).collect()
}

#[test]
fn misspelled_keys_of_an_account_without_a_role_are_reported_to_its_pods() {
    for (key, meant) in [
        ("eks.amazonaws.com/role-am", "eks.amazonaws.com/role-arn"),
        ("eks.amazonaws.com/Role-ARN", "eks.amazonaws.com/role-arn"),
        ("eks.amazon.com/role-arn", "eks.amazonaws.com/role-arn"),
        ("iam.amazonaws.com/role", "eks.amazonaws.com/role-arn"),
        ("eks.amazonaws.com/sts-regional-endpoint", "eks.amazonaws.com/sts-regional-endpoints"),
    ] {
        let answer = create_of(Settings::default(), &[(key, ROLE)], &one_container());
        assert_one_warning(&answer, &["ServiceAccount annotation", key, meant]);
        assert!(answer["response"].get("patch").is_none());
        let account = support::account(&[(key, ROLE)]);
        assert_eq!(State::of(&account), State::Malformed, "{key}");
    }
    for key in ["eks.amazonaws.com/compute-type", "example.com/role-arn", "meta.helm.sh/release-name"] {
        assert!(matches!(support::account(&[(key, ROLE)]), Account::Nothing), "{key}");
    }
}

#[test]
fn misspelled_keys_beside_a_role_are_reported_as_well() {
    let answer = create(&[("eks.amazonaws.com/token-expirations", "7200")], &one_container());
    assert_eq!(answer.warnings().len(), 1);
    assert!(answer.is_injected("containers", 0));
}

#[test]
fn keys_of_accounts_are_reported_on_pods_even_where_the_account_has_no_role() {
    for name in ["role-arn", "audience", "sts-regional-endpoints"] {
        let mut pod = one_container();
        pod["metadata"]["annotations"] = json!({(format!("eks.amazonaws.com/{name}")): ROLE});
        for annotations in [&[][..], &[(ROLE_ANNOTATION, ROLE)]] {
            let answer = create_of(Settings::default(), annotations, &pod);
            assert_one_warning(&answer, &["pod annotation", name, "ServiceAccount"]);
        }
        // As kube-apiserver writes the request, where the answer could be found without parsing.
        let body = String::from_utf8(support::recorded("unannotated-account")).unwrap();
        let body = body.replacen(
            r#""metadata":{"#,
            &format!(r#""metadata":{{"annotations":{{"eks.amazonaws.com/{name}":"x"}},"#),
            1,
        );
        let answer = support::admit(body, support::recorded_account).unwrap().unwrap();
        assert_one_warning(&serde_json::from_slice(&answer.body).unwrap(), &[name]);
    }
}

#[test]
fn the_skip_label_is_reported_where_it_is_misspelled_or_an_annotation() {
    for (field, name, part) in [
        ("labels", "skip-pod-identity-webhok", "did you mean eks.amazonaws.com/skip-pod-identity-webhook?"),
        ("annotations", "skip-pod-identity-webhook", "it counts as a label"),
        ("annotations", "skip-pod-identity-webhooks", "it counts as a label"),
    ] {
        let mut pod = one_container();
        pod["metadata"][field] = json!({(format!("eks.amazonaws.com/{name}")): "true"});
        for annotations in [&[][..], &[(ROLE_ANNOTATION, ROLE)]] {
            let answer = create_of(Settings::default(), annotations, &pod);
            assert_one_warning(&answer, &[name, part]);
        }
    }
    let mut skipped = one_container();
    skipped["metadata"]["labels"] = json!({"eks.amazonaws.com/skip-pod-identity-webhook": "true",
        "eks.amazonaws.com/nodegroup": "x"});
    assert!(warnings(&create_of(Settings::default(), &[(ROLE_ANNOTATION, ROLE)], &skipped)).is_empty());
}

#[test]
fn kube2iams_annotation_is_reported_on_a_pod_without_a_role() {
    let mut pod = one_container();
    pod["metadata"]["annotations"] = json!({"iam.amazonaws.com/role": "app"});
    let answer = create_of(Settings::default(), &[], &pod);
    assert_one_warning(&answer, &["pod annotation iam.amazonaws.com/role is read by kube2iam and kiam only"]);
    // A pod that has its role here may keep it while kube2iam is taken away.
    assert!(warnings(&create_of(Settings::default(), &[(ROLE_ANNOTATION, ROLE)], &pod)).is_empty());
}

#[test]
fn lists_that_match_no_container_are_reported() {
    for (list, value, is_reported) in [
        ("include-containers", "ap", true),
        ("include-containers", "app", false),
        ("include-containers", "", false),
        ("skip-containers", "sidecar, proxy", true),
        ("skip-containers", "sidecar, app", false),
    ] {
        let key = format!("eks.amazonaws.com/{list}");
        let mut annotated = one_container();
        annotated["metadata"]["annotations"] = json!({(&key): value});
        for answer in [create(&[], &annotated), create(&[(&key, value)], &one_container())] {
            assert_eq!(!answer.warnings().is_empty(), is_reported, "{list}={value}: {:?}", answer.warnings());
            assert!(answer.warnings().iter().all(|warning| warning.contains("matches no container")));
            // A sidecar of a webhook that is called later is not there yet.
            let may_come = answer.warnings().iter().any(|warning| warning.contains("adds it later"));
            assert_eq!(may_come, is_reported && list == "skip-containers");
        }
    }
}

#[test]
fn a_region_of_another_partition_is_not_injected_unless_it_is_annotated() {
    let china = "arn:aws-cn:iam::111122223333:role/app";
    let government = "arn:aws-us-gov:iam::111122223333:role/app";
    let region = ("eks.amazonaws.com/region", "us-west-2");
    for (role, annotation, expected, warned) in [
        (china, None, vec![], true),
        (government, None, vec![], true),
        (ROLE, None, vec!["us-east-1"], false),
        ("arn:aws-new:iam::111122223333:role/app", None, vec!["us-east-1"], false),
        (china, Some(region), vec!["us-west-2"], true),
        (china, Some(("eks.amazonaws.com/region", "cn-north-1")), vec!["cn-north-1"], false),
        (ROLE, Some(("eks.amazonaws.com/region", "cn-north-1")), vec!["cn-north-1"], true),
    ] {
        let annotations: Vec<_> = [(ROLE_ANNOTATION, role)].into_iter().chain(annotation).collect();
        let answer = create_of(Settings::default(), &annotations, &one_container());
        let mut injected = one_container();
        json_patch::patch(&mut injected, &support::patch_of(&answer).unwrap().0).unwrap();
        assert_eq!(env(&injected, "AWS_REGION"), expected, "{annotations:?}");
        assert_eq!(warnings(&answer).len(), usize::from(warned), "{annotations:?} {answer}");
    }
    // A pod's own region stands, too.
    let mut own = one_container();
    own["metadata"]["annotations"] = json!({"eks.amazonaws.com/region": "cn-north-1"});
    let admitted = create(&[], &own);
    assert_eq!(env(&admitted.pod, "AWS_REGION"), ["cn-north-1"]);
    assert!(admitted.warnings()[0].contains("another partition"), "{:?}", admitted.warnings());
}

#[test]
fn a_configured_region_is_subject_to_the_same_rule_except_for_compat_aws() {
    let china = [(ROLE_ANNOTATION, "arn:aws-cn:iam::111122223333:role/app")];
    for (compat, is_injected) in [(Compat::None, false), (Compat::Aws, true)] {
        let settings = Settings {
            region: "eu-west-1".parse().unwrap(),
            region_is_built_in: false,
            compat,
            ..Settings::default()
        };
        let answer = create_of(settings, &china, &one_container());
        let patch = serde_json::to_string(&support::patch_of(&answer).unwrap()).unwrap();
        assert_eq!(patch.contains("AWS_REGION"), is_injected, "{compat}");
    }
}

#[test]
fn the_region_of_a_pod_replaces_what_is_said_of_its_accounts() {
    let of_china = "arn:aws-cn:iam::111122223333:role/app";
    let mut pod = one_container();
    pod["metadata"]["annotations"] = json!({"eks.amazonaws.com/region": "cn-north-1"});
    for region in [&[][..], &[("eks.amazonaws.com/region", "us-east-1")]] {
        let annotations = [&[(ROLE_ANNOTATION, of_china)], region].concat();
        let answer = create_of(Settings::default(), &annotations, &pod);
        assert!(warnings(&answer).is_empty(), "{:?}", warnings(&answer));
        assert_eq!(warnings(&create_of(Settings::default(), &annotations, &one_container())).len(), 1);
    }
}

#[test]
fn regions_without_the_form_of_one_are_reported_and_injected() {
    for region in ["frankfurt", "eu-west1", "eu-west"] {
        let answer = create(&[("eks.amazonaws.com/region", region)], &one_container());
        assert_eq!(answer.warnings().len(), 1, "{region}");
        assert_eq!(env(&answer.pod, "AWS_REGION"), [region]);
        let mut pod = one_container();
        pod["metadata"]["annotations"] = json!({"eks.amazonaws.com/region": region});
        assert!(create(&[], &pod).warnings()[0].contains("not the name of a region"), "{region}");
    }
}

#[test]
fn zones_are_reported_and_injected() {
    let admitted = create(&[("eks.amazonaws.com/region", "us-east-1a")], &one_container());
    assert_eq!(env(&admitted.pod, "AWS_REGION"), ["us-east-1a"]);
    assert!(admitted.warnings()[0].contains("availability zone; its region is us-east-1"));
}

#[test]
fn the_built_in_region_is_not_injected_where_env_from_may_set_it() {
    let with_env_from = json!({"name": "app", "envFrom": [{"configMapRef": {"name": "region"}}]});
    let web = pod(json!({"containers": [with_env_from, {"name": "b", "envFrom": []}]}));
    let admitted = create(&[], &web);
    assert!(env(&admitted.pod, "AWS_REGION").is_empty() && admitted.is_injected("containers", 0));
    assert!(admitted.pod["spec"]["containers"][1].to_string().contains("us-east-1"));
    for annotations in [&[][..], &[("eks.amazonaws.com/region", "us-east-1")]] {
        let settings = Settings { region_is_built_in: !annotations.is_empty(), ..Settings::default() };
        let admitted = admit_under(settings, annotations, &review("CREATE", "", &web, &Value::Null));
        assert_eq!(env(&admitted.pod, "AWS_REGION"), ["us-east-1"], "{annotations:?}");
    }
}

#[test]
fn injected_variables_come_first() {
    let own = json!([{"name": "URL", "value": "https://s3.$(AWS_REGION).amazonaws.com"}]);
    let admitted = create(&[], &pod(json!({"containers": [{"name": "app", "env": own}]})));
    let env = admitted.pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let names: Vec<_> = env.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    let ours = [
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_ROLE_SESSION_NAME",
    ];
    assert_eq!((&names[..5], names[5]), (&ours[..], "URL"));
}

/// A token volume of another name, mounted where ours would be.
fn with_token_mounted_by_hand(audience: &str) -> Value {
    let token =
        json!({"serviceAccountToken": {"audience": audience, "path": "token", "expirationSeconds": 900}});
    let mount = json!({"name": "mine", "mountPath": MOUNT_PATH});
    pod(json!({
        "containers": [{"name": "app", "volumeMounts": [mount]}, {"name": "other"}],
        "volumes": [{"name": "mine", "projected": {"sources": [token]}}],
    }))
}

#[test]
fn a_token_mounted_by_hand_is_used() {
    for compat in [Compat::None, Compat::Aws] {
        let settings = || Settings { compat, ..Settings::default() };
        let wanted = with_token_mounted_by_hand("sts.amazonaws.com");
        let admitted = admit_under(settings(), &[], &review("CREATE", "", &wanted, &Value::Null));
        assert!(admitted.warnings().is_empty(), "{:?}", admitted.warnings());
        assert_eq!(env(&admitted.pod, "AWS_ROLE_ARN"), [ROLE]);
        assert_eq!(admitted.pod["spec"]["volumes"], wanted["spec"]["volumes"], "no second volume");
        let containers = &admitted.pod["spec"]["containers"];
        assert_eq!(containers[0]["volumeMounts"], wanted["spec"]["containers"][0]["volumeMounts"]);
        assert_eq!(containers[1]["volumeMounts"][0]["name"], "mine");
        let again = admit_under(settings(), &[], &review("CREATE", "", &admitted.pod, &Value::Null));
        assert_eq!((again.outcome(), &again.pod), ("unchanged", &admitted.pod));
    }
}

#[test]
fn another_token_at_the_path_is_foreign() {
    let mut partial = with_token_mounted_by_hand("sts.amazonaws.com");
    partial["spec"]["containers"][0]["volumeMounts"][0]["subPath"] = json!("token");
    for wanted in [with_token_mounted_by_hand("vault"), partial] {
        let admitted = create(&[], &wanted);
        assert!(!admitted.is_injected("containers", 0) && admitted.is_injected("containers", 1));
        assert!(admitted.warnings()[0].contains(r#"container "app""#), "{:?}", admitted.warnings());
    }
}

#[test]
fn one_foreign_mount_at_the_path_is_enough_in_any_order() {
    let [ours, other] = ["aws-token", "other"].map(|name| json!({"name": name, "mountPath": MOUNT_PATH}));
    let device = json!([{"name": "disk", "devicePath": MOUNT_PATH}]);
    for (mounts, devices) in [
        (json!([ours, other]), json!([])),
        (json!([other, ours]), json!([])),
        (json!([ours]), device.clone()),
    ] {
        let container = json!({"name": "app", "volumeMounts": mounts, "volumeDevices": devices});
        let admitted = create(&[], &pod(json!({"containers": [container]})));
        assert!(!admitted.is_injected("containers", 0), "{mounts} {devices}");
    }
}

#[test]
fn static_credentials_beside_a_role_are_reported() {
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"] {
        let container = json!({"name": "app", "env": [{"name": name, "value": "x"}]});
        let admitted = create(&[], &pod(json!({"containers": [container]})));
        assert!(admitted.is_injected("containers", 0));
        assert!(
            admitted.warnings()[0].contains(name) && admitted.warnings()[0].contains(r#""app""#),
            "{:?}",
            admitted.warnings()
        );
    }
}

#[test]
fn odd_roles_and_lifetimes_are_reported() {
    let role_owner =
        RoleOwner { partition: "aws".parse().unwrap(), account_id: "111122223333".parse().unwrap() };
    let long = format!("arn:aws:iam::111122223333:role/{}", "x".repeat(65));
    for (annotations, parts) in [
        (vec![(ROLE_ANNOTATION, &*long)], "at most 64 characters"),
        (vec![(ROLE_ANNOTATION, "arn:aws:iam::111122223333:role//a")], "empty part"),
        (vec![(ROLE_ANNOTATION, "role/app")], "role/role/app"),
        (vec![(ROLE_ANNOTATION, ROLE), ("eks.amazonaws.com/token-expiration", "60")], "600 is used"),
        (vec![(ROLE_ANNOTATION, ROLE), ("eks.amazonaws.com/session-name", "x")], "neither pod nor none"),
    ] {
        let settings = Settings { role_owner: Some(role_owner.clone()), ..Settings::default() };
        assert_one_warning(&create_of(settings, &annotations, &one_container()), &[parts]);
    }
    let mut own = one_container();
    own["metadata"]["annotations"] = json!({"eks.amazonaws.com/token-expiration": "60"});
    assert!(create(&[], &own).warnings()[0].contains("out of range; 600 is used"));
}

#[test]
fn warnings_quote_names_within_bounds_and_the_most_important_come_first() {
    let names = ["\u{1b}[31m\nerror: forged".to_owned(), "x".repeat(300_000), "c".to_owned(), "d".to_owned()];
    let mount = json!([{"name": "other", "mountPath": MOUNT_PATH}]);
    let mut containers: Vec<_> =
        names.iter().map(|name| json!({"name": name, "volumeMounts": mount})).collect();
    containers.push(json!({"name": "app", "env": [{"name": "AWS_PROFILE", "value": "x"}]}));
    let mut wanted = pod(json!({"containers": containers}));
    wanted["metadata"]["annotations"] = json!({"eks.amazonaws.com/region": "x".repeat(3000),
        "eks.amazonaws.com/token-expiration": "x".repeat(3000), "eks.amazonaws.com/role-arn": "x"});
    let answer = create_of(Settings::default(), &[(ROLE_ANNOTATION, "no-arn")], &wanted);
    let warnings = warnings(&answer);
    assert!(warnings.iter().all(|warning| warning.chars().count() <= 256));
    assert!(warnings.iter().all(|warning| !warning.contains(char::is_control)), "{warnings:?}");
    assert!(warnings[0].contains("not a role ARN"), "{warnings:?}");
    assert!(warnings[1].contains("something else is mounted at") && warnings[1].contains("and 1 more"));
    assert!(warnings[2].contains("AWS_PROFILE") && warnings[3].contains("pod annotation"));
}

#[test]
fn variables_of_the_operator_are_injected_where_the_container_lacks_them() {
    let variables = ["AWS_USE_FIPS_ENDPOINT=true", "NO_PROXY=a,b"].map(|text| text.parse().unwrap());
    let settings = Settings { inject_env: variables.into(), ..Settings::default() };
    let own = json!([{"name": "NO_PROXY", "value": "theirs"}]);
    let wanted = pod(json!({"containers": [{"name": "app", "env": own}, {"name": "b"}]}));
    let admitted = admit_under(settings.clone(), &[], &review("CREATE", "", &wanted, &Value::Null));
    assert_eq!(env(&admitted.pod, "AWS_USE_FIPS_ENDPOINT"), ["true"]);
    assert_eq!(env(&admitted.pod, "NO_PROXY"), ["theirs"]);
    assert!(admitted.pod["spec"]["containers"][1].to_string().contains(r#""value":"a,b""#));
    let again = admit_under(settings, &[], &review("CREATE", "", &admitted.pod, &Value::Null));
    assert_eq!(again.outcome(), "unchanged");
}

#[test]
fn the_session_name_can_be_left_out() {
    let none = [("eks.amazonaws.com/session-name", "none")];
    let mut wants_one = one_container();
    wants_one["metadata"]["annotations"] = json!({"eks.amazonaws.com/session-name": "pod"});
    for (setting, annotations, pod, expected) in [
        (SessionName::Pod, &[][..], one_container(), vec!["web"]),
        (SessionName::None, &[], one_container(), vec![]),
        (SessionName::Pod, &none, one_container(), vec![]),
        (SessionName::None, &none, wants_one, vec!["web"]),
    ] {
        let settings = Settings { session_name: setting, ..Settings::default() };
        let admitted = admit_under(settings, annotations, &review("CREATE", "", &pod, &Value::Null));
        assert_eq!(env(&admitted.pod, "AWS_ROLE_SESSION_NAME"), expected);
    }
}
