//! What holds for every pod, however odd.

use std::{collections::HashSet, sync::Arc};

use eks_pod_identity_webhook::{
    admission::{Buffers, Webhook},
    injection::{compat::Compat, resolver::Resolver, settings::Settings},
};
use proptest::{
    collection::{btree_map, vec},
    prelude::*,
    sample::select,
};
use serde_json::{Map, Value, json};

use crate::support::{self, ROLE, ROLE_ANNOTATION};

const MOUNT_PATH: &str = "/var/run/secrets/eks.amazonaws.com/serviceaccount";

/// Any JSON, for fields that this program has never heard of.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f32>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-z~/\"\\\\é]{0,4}", inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A field that is mostly what it should be, and otherwise missing, `null` or of another type.
fn field(value: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        120 => value.prop_map(Some),
        20 => Just(None),
        20 => Just(Some(Value::Null)),
        1 => any_json().prop_map(Some),
    ]
}

fn object<const N: usize>(fields: [(&'static str, BoxedStrategy<Option<Value>>); N]) -> BoxedStrategy<Value> {
    let names = fields.each_ref().map(|(name, _)| *name);
    let values = Vec::from(fields.map(|(_, strategy)| strategy));
    (values, btree_map("x[a-z]{0,3}", any_json(), 0..3))
        .prop_map(move |(values, unknown)| {
            let known =
                names.iter().zip(values).filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
            known.chain(unknown).collect::<Map<_, _>>().into()
        })
        .boxed()
}

fn text(choices: &'static [&'static str]) -> BoxedStrategy<Option<Value>> {
    prop_oneof![10 => field(select(choices).prop_map(Value::from)), 1 => any::<String>().prop_map(|text| Some(text.into()))]
        .boxed()
}

fn list(item: BoxedStrategy<Value>) -> BoxedStrategy<Option<Value>> {
    field(vec(item, 0..4).prop_map(Value::from)).boxed()
}

const ENV_NAMES: &[&str] = &[
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ROLE_SESSION_NAME",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_",
    "PATH",
];
const PATHS: &[&str] = &[
    MOUNT_PATH,
    "/var/run/secrets/eks.amazonaws.com/serviceaccount/",
    "/var/run/secrets/eks.amazonaws.com",
    "/data",
];
const VOLUMES: &[&str] = &["aws-token", "aws-token-2", "aws-token-3", "aws-token-02", "data"];
const NAMES: &[&str] = &["a", "b", "c", "skip", ""];

fn container() -> BoxedStrategy<Value> {
    object([
        ("name", text(NAMES)),
        ("env", list(object([("name", text(ENV_NAMES)), ("value", text(&["v", ""]))]))),
        ("volumeMounts", list(object([("name", text(VOLUMES)), ("mountPath", text(PATHS))]))),
        ("volumeDevices", list(object([("name", text(VOLUMES)), ("devicePath", text(PATHS))]))),
        ("image", text(&["i"])),
    ])
}

fn volume() -> BoxedStrategy<Value> {
    let token = object([
        ("audience", text(&["sts.amazonaws.com", "sts.amazonaws.com", "vault"])),
        ("path", text(&["token", "token", "other"])),
    ]);
    let source = object([("serviceAccountToken", field(token).boxed())]);
    let projected = object([("sources", list(source))]);
    object([("name", text(VOLUMES)), ("projected", field(projected).boxed())])
}

fn affinity() -> BoxedStrategy<Value> {
    let expression = object([
        ("key", text(&["kubernetes.io/os", "beta.kubernetes.io/os", "zone"])),
        ("operator", text(&["In", "NotIn", "Exists"])),
        ("values", list(select(&["windows", "linux"][..]).prop_map(Value::from).boxed())),
    ]);
    let terms = object([("nodeSelectorTerms", list(object([("matchExpressions", list(expression))])))]);
    let required = object([("requiredDuringSchedulingIgnoredDuringExecution", field(terms).boxed())]);
    object([("nodeAffinity", field(required).boxed())])
}

pub(crate) fn pod() -> BoxedStrategy<Value> {
    let metadata = object([
        (
            "name",
            text(&[
                "",
                "a",
                "web-1",
                "a-name-of-more-than-sixty-four-characters-that-has-to-be-cut-to-fit.sts",
            ]),
        ),
        (
            "annotations",
            field(object([
                (
                    "eks.amazonaws.com/token-expiration",
                    text(&["60", "7200", "forever", "99999999999999999999"]),
                ),
                ("eks.amazonaws.com/region", text(&["", "eu-west-1"])),
                ("eks.amazonaws.com/skip-containers", text(&["skip", "a, b", ""])),
                ("eks.amazonaws.com/include-containers", text(&["a", "a,b,c,skip"])),
            ]))
            .boxed(),
        ),
        ("labels", field(object([("app", text(&["x"]))])).boxed()),
    ]);
    let spec = object([
        ("serviceAccountName", text(&["api"])),
        ("volumes", list(volume())),
        ("initContainers", list(container())),
        ("containers", list(container())),
        ("ephemeralContainers", list(container())),
        ("os", field(object([("name", text(&["windows", "linux"]))])).boxed()),
        ("nodeSelector", field(object([("kubernetes.io/os", text(&["windows", "linux"]))])).boxed()),
        ("affinity", field(affinity()).boxed()),
    ]);
    object([("metadata", field(metadata).boxed()), ("spec", spec.prop_map(Some).boxed())])
}

fn review(is_ephemeral: bool, pod: &Value, old: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u",
            "operation": if is_ephemeral { "UPDATE" } else { "CREATE" },
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "subResource": if is_ephemeral { "ephemeralcontainers" } else { "" },
            "namespace": "payments",
            "object": pod,
            "oldObject": if is_ephemeral { old } else { &Value::Null },
        },
    })
}

/// The answer and the pod that comes of it; `None` if the review was refused.
fn admit(review: &Value) -> Option<(Value, Value)> {
    admit_as(Compat::None, review)
}

fn admit_as(compat: Compat, review: &Value) -> Option<(Value, Value)> {
    let settings = Arc::new(Settings { sts_regional_endpoints: true, compat, ..Settings::default() });
    let account = Resolver::new(Arc::clone(&settings)).resolve([(ROLE_ANNOTATION, ROLE)]);
    let mut body = serde_json::to_vec(review).unwrap();
    let look_up = |_: &str, _: &str| Some(account.clone());
    let outcome = Webhook::new(settings).admit(&mut body, &mut Buffers::default(), look_up);
    outcome.ok()?.expect("the account is known");
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let mut pod = review["request"]["object"].clone();
    if let Some(patch) = support::patch_of(&answer) {
        json_patch::patch(&mut pod, &patch.0).expect("every patch applies");
    }
    Some((answer, pod))
}

/// The pod with what was added at the beginning of an array at its end.
fn in_order(compat: Compat, before: &Value, after: &Value) -> Value {
    let mut after = after.clone();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = after.pointer_mut(&format!("/spec/{list}")).and_then(Value::as_array_mut);
        for (index, container) in containers.into_iter().flatten().enumerate() {
            let had = before["spec"][list][index]["env"].as_array().map_or(0, Vec::len);
            let env = container.pointer_mut("/env").and_then(Value::as_array_mut);
            if let Some(env) = env.filter(|_| compat == Compat::None) {
                let added = env.len() - had;
                env.rotate_left(added);
            }
        }
    }
    let had = before["spec"]["volumes"].as_array().map_or(0, Vec::len);
    if let Some(volumes) = after["spec"]["volumes"].as_array_mut()
        && compat == Compat::Aws
        && volumes.len() > had
    {
        volumes.rotate_left(1);
    }
    after
}

/// Asserts that `after` is `before` with elements added at the ends of arrays and arrays where there was nothing, and
/// only where this program may add.
fn assert_only_added(before: &Value, after: &Value, path: &str) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                assert_only_added(value, &new[key], &format!("{path}/{key}"));
            }
            for (key, _) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                assert!(matches!(&**key, "volumes" | "env" | "volumeMounts"), "{path}/{key} was added");
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            assert!(old.len() <= new.len(), "{path} got shorter");
            for (index, (old, new)) in old.iter().zip(new).enumerate() {
                assert_only_added(old, new, &format!("{path}/{index}"));
            }
            let may_grow = ["/volumes", "/env", "/volumeMounts"].iter().any(|end| path.ends_with(end));
            assert!(old.len() == new.len() || may_grow, "{path} grew");
        }
        (Value::Null, Value::Array(_)) => {
            assert!(["/volumes", "/env", "/volumeMounts"].iter().any(|end| path.ends_with(end)), "{path}");
        }
        _ => assert_eq!(before, after, "{path} changed"),
    }
}

fn names<'a>(list: &'a Value, key: &str) -> Vec<&'a str> {
    let values = list.as_array().into_iter().flatten().filter_map(|item| item[key].as_str());
    values.map(|value| value.trim_end_matches('/')).collect()
}

fn are_unique(names: &[&str]) -> bool {
    names.iter().collect::<HashSet<_>>().len() == names.len()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

fn fits_sts(name: &str) -> bool {
    (2..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
}

/// The value of the session name that was added to a container, if one was.
fn added_session_name<'a>(before: &Value, after: &'a Value) -> Option<&'a str> {
    let is_session_name = |entry: &&Value| entry["name"] == "AWS_ROLE_SESSION_NAME";
    let entries = |container: &'a Value| container["env"].as_array().into_iter().flatten();
    let had_one = before["env"].as_array().into_iter().flatten().any(|entry| is_session_name(&entry));
    let added = entries(after).find(is_session_name).filter(|_| !had_one)?;
    added["value"].as_str()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_patch_applies_and_only_adds_and_only_once(pod in pod(), old in pod(), is_ephemeral in any::<bool>()) {
        let request = review(is_ephemeral, &pod, &old);
        for compat in [Compat::None, Compat::Aws] {
            let Some((answer, injected)) = admit_as(compat, &request) else { continue };
            prop_assert_eq!(&answer["response"]["allowed"], &json!(true));
            prop_assert_eq!(&answer["response"]["uid"], &json!("u"));

            assert_only_added(&pod, &in_order(compat, &pod, &injected), "");
            if is_ephemeral {
                for list in ["volumes", "initContainers", "containers"] {
                    prop_assert_eq!(&pod["spec"][list], &injected["spec"][list], "can't be changed any more");
                }
            }
            if are_unique(&names(&pod["spec"]["volumes"], "name")) {
                prop_assert!(are_unique(&names(&injected["spec"]["volumes"], "name")));
            }
            for (before, after) in containers(&pod).zip(containers(&injected)) {
                if are_unique(&names(&before["volumeMounts"], "mountPath")) {
                    prop_assert!(are_unique(&names(&after["volumeMounts"], "mountPath")));
                }
                if let Some(name) = added_session_name(before, after) {
                    prop_assert!(fits_sts(name), "{:?}", name);
                }
            }

            let (again, twice) = admit_as(compat, &review(is_ephemeral, &injected, &old)).expect("still a pod");
            prop_assert!(support::patch_of(&again).is_none(), "added again: {}", again);
            prop_assert_eq!(twice, injected);
        }
    }

    #[test]
    fn every_pod_name_becomes_a_session_name(name in "\\PC{1,300}") {
        let pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "a"}]}});
        let (_, injected) = admit(&review(false, &pod, &Value::Null)).unwrap();
        let session_name = added_session_name(&json!({}), &injected["spec"]["containers"][0]).unwrap();
        prop_assert!(fits_sts(session_name), "{session_name:?}");
    }

    #[test]
    fn no_body_makes_the_core_panic(body in vec(any::<u8>(), 0..200)) {
        support::admit(body, support::recorded_account).ok();
    }

    #[test]
    fn no_damage_to_a_review_makes_the_core_panic_or_answer_nonsense(
        position in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut body = support::recorded("foreign-volume-same-name");
        let position = position.index(body.len());
        if cut { body.truncate(position) } else { body[position] = byte }
        if let Ok(Some(answer)) = support::admit(body, support::recorded_account) {
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            prop_assert_eq!(&answer["response"]["allowed"], &json!(true));
        }
    }
}

/// The generator has to reach what the properties are about.
#[test]
fn most_generated_pods_are_injected() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let (mut injected, mut refused) = (0, 0);
    for _ in 0..500 {
        let pod = pod().new_tree(&mut runner).unwrap().current();
        match admit(&review(false, &pod, &Value::Null)) {
            None => refused += 1,
            Some((answer, _)) => injected += usize::from(support::patch_of(&answer).is_some()),
        }
    }
    assert!(injected >= 150 && (10..200).contains(&refused), "{injected} injected, {refused} refused of 500");
}
