//! Pods of every kind, and what each is to be given, by whichever mode.

use serde_json::{Value, json};

use crate::{
    identity::{TOKEN_FILE, given, none},
    support::{ROLE, ROLE_ANNOTATION},
};

pub(crate) struct Case {
    /// What it shows; the name of its account, and of its pod where that is not what it is about.
    pub(crate) name: &'static str,
    pub(crate) account: Value,
    pub(crate) pod: Value,
    /// The identity that the stored pod has.
    pub(crate) expected: Value,
    /// What the policy gives instead, where CEL can't do the same: see `docs/policy.md`.
    pub(crate) by_policy: Option<Value>,
}

impl Case {
    /// An annotated account and a pod of one container, `app`, which gets everything.
    fn new(name: &'static str) -> Self {
        let containers = json!([{"name": "app", "image": "app"}]);
        Self {
            name,
            account: json!({ROLE_ANNOTATION: ROLE}),
            pod: json!({
                "metadata": {"name": name},
                "spec": {"serviceAccountName": name, "containers": containers},
            }),
            expected: given(name, &["app"]),
            by_policy: None,
        }
    }

    fn account(mut self, annotations: Value) -> Self {
        json_patch::merge(&mut self.account, &annotations);
        self
    }

    fn metadata(mut self, metadata: Value) -> Self {
        json_patch::merge(&mut self.pod["metadata"], &metadata);
        self
    }

    fn spec(mut self, spec: Value) -> Self {
        json_patch::merge(&mut self.pod["spec"], &spec);
        self
    }

    fn expect(mut self, expected: Value) -> Self {
        self.expected = expected;
        self
    }

    /// What `app` has otherwise; null: it lacks it.
    fn app(mut self, difference: Value) -> Self {
        json_patch::merge(&mut self.expected["containers"]["app"], &difference);
        self
    }

    fn volumes(mut self, difference: Value) -> Self {
        json_patch::merge(&mut self.expected["volumes"], &difference);
        self
    }

    /// How the policy's outcome differs.
    fn by_policy(mut self, difference: Value) -> Self {
        let mut expected = self.expected.clone();
        json_patch::merge(&mut expected, &difference);
        self.by_policy = Some(expected);
        self
    }
}

const OF_CHINA: &str = "arn:aws-cn:iam::111122223333:role/payments-api";

fn env(name: &str, value: &str) -> Value {
    json!({"containers": [{"name": "app", "image": "app", "env": [{"name": name, "value": value}]}]})
}

fn two_containers() -> Value {
    json!({"containers": [{"name": "app", "image": "app"}, {"name": "proxy", "image": "proxy"}]})
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    [kinds(), names(), own_settings(), annotations(), container_lists(), volumes(), windows(), left_alone()]
        .into_iter()
        .flatten()
        .collect()
}

fn kinds() -> Vec<Case> {
    let init = json!([
        {"name": "init", "image": "init"},
        {"name": "native-sidecar", "image": "sidecar", "restartPolicy": "Always"},
    ]);
    vec![
        Case::new("minimal"),
        Case::new("init-containers")
            .spec(json!({"initContainers": init}))
            .expect(given("init-containers", &["init", "native-sidecar", "app"])),
        Case::new("no-automount").spec(json!({"automountServiceAccountToken": false})),
        Case::new("host-network").spec(json!({"hostNetwork": true})),
    ]
}

fn names() -> Vec<Case> {
    let long = "long.".repeat(20) + "name";
    let cut: String = long.chars().take(55).collect();
    vec![
        Case::new("generate-name")
            .metadata(json!({"name": null, "generateName": "generated-"}))
            .app(json!({"AWS_ROLE_SESSION_NAME": "(metadata.name)"})),
        Case::new("one-character")
            .metadata(json!({"name": "a"}))
            .app(json!({"AWS_ROLE_SESSION_NAME": "pod-a"})),
        Case::new("long-name")
            .metadata(json!({"name": long}))
            .app(json!({"AWS_ROLE_SESSION_NAME": format!("{cut}-2ff444e2")}))
            .by_policy(json!({"containers": {"app": {"AWS_ROLE_SESSION_NAME": long[..64]}}})),
    ]
}

fn own_settings() -> Vec<Case> {
    let of_field =
        json!([{"name": "AWS_ROLE_SESSION_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}]);
    vec![
        Case::new("own-role").spec(env("AWS_ROLE_ARN", "mine")).app(json!({"AWS_ROLE_ARN": "mine"})),
        Case::new("own-region")
            .spec(env("AWS_REGION", "eu-west-1"))
            .app(json!({"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": null})),
        Case::new("own-default-region")
            .spec(env("AWS_DEFAULT_REGION", "eu-west-1"))
            .app(json!({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": null})),
        Case::new("own-session-name")
            .spec(json!({"containers": [{"name": "app", "image": "app", "env": of_field}]}))
            .app(json!({"AWS_ROLE_SESSION_NAME": "(metadata.uid)"})),
        Case::new("other-env").spec(env("GREETING", "hello")),
        Case::new("env-from")
            .spec(json!({"containers": [{"name": "app", "image": "app",
                "envFrom": [{"configMapRef": {"name": "region"}}]}]}))
            .app(json!({"AWS_REGION": null, "AWS_DEFAULT_REGION": null})),
        Case::new("env-from-and-annotated-region")
            .account(json!({"eks.amazonaws.com/region": "eu-central-1"}))
            .spec(json!({"containers": [{"name": "app", "image": "app",
                "envFrom": [{"secretRef": {"name": "region"}}]}]}))
            .app(json!({"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"})),
    ]
}

fn annotations() -> Vec<Case> {
    let region = |region: &str| json!({"annotations": {"eks.amazonaws.com/region": region}});
    let expiration = |seconds: &str| json!({"eks.amazonaws.com/token-expiration": seconds});
    vec![
        Case::new("trimmed-role").account(json!({ROLE_ANNOTATION: format!(" {ROLE}\n")})),
        Case::new("malformed-role")
            .account(json!({ROLE_ANNOTATION: "a role"}))
            .app(json!({"AWS_ROLE_ARN": "a role"})),
        Case::new("role-of-china")
            .account(json!({ROLE_ANNOTATION: OF_CHINA}))
            .app(json!({"AWS_ROLE_ARN": OF_CHINA, "AWS_REGION": null, "AWS_DEFAULT_REGION": null})),
        Case::new("role-and-region-of-china")
            .account(json!({ROLE_ANNOTATION: OF_CHINA}))
            .metadata(region("cn-north-1"))
            .app(json!({"AWS_ROLE_ARN": OF_CHINA, "AWS_REGION": "cn-north-1", "AWS_DEFAULT_REGION": "cn-north-1"})),
        Case::new("role-of-a-new-partition")
            .account(json!({ROLE_ANNOTATION: OF_CHINA.replace("aws-cn", "aws-new")}))
            .app(json!({"AWS_ROLE_ARN": OF_CHINA.replace("aws-cn", "aws-new")})),
        Case::new("long-role").account(json!({ROLE_ANNOTATION: "r".repeat(3000)})).app(json!({"AWS_ROLE_ARN": "r".repeat(2048)})),
        Case::new("no-session-name")
            .account(json!({"eks.amazonaws.com/session-name": "none"}))
            .app(json!({"AWS_ROLE_SESSION_NAME": null})),
        Case::new("session-name-of-pod")
            .account(json!({"eks.amazonaws.com/session-name": "none"}))
            .metadata(json!({"annotations": {"eks.amazonaws.com/session-name": " pod"}})),
        Case::new("session-name-of-nonsense")
            .account(json!({"eks.amazonaws.com/session-name": "none"}))
            .metadata(json!({"annotations": {"eks.amazonaws.com/session-name": "nobody"}}))
            .app(json!({"AWS_ROLE_SESSION_NAME": null})),
        Case::new("expiration-of-many-digits")
            .account(expiration("99999999999999999999"))
            .volumes(json!({"aws-token": "sts.amazonaws.com 4294967296"})),
        Case::new("audience")
            .account(json!({"eks.amazonaws.com/audience": "vault"}))
            .volumes(json!({"aws-token": "vault 3600"})),
        Case::new("expiration-of-account")
            .account(expiration("7200"))
            .volumes(json!({"aws-token": "sts.amazonaws.com 7200"})),
        Case::new("expiration-of-pod")
            .account(expiration("7200"))
            .metadata(json!({"annotations": expiration("60")}))
            .volumes(json!({"aws-token": "sts.amazonaws.com 600"})),
        Case::new("expiration-of-nonsense")
            .account(expiration("7200"))
            .metadata(json!({"annotations": expiration("soon")}))
            .volumes(json!({"aws-token": "sts.amazonaws.com 7200"})),
        Case::new("regional-endpoints")
            .account(json!({"eks.amazonaws.com/sts-regional-endpoints": "true"}))
            .app(json!({"AWS_STS_REGIONAL_ENDPOINTS": "regional"})),
        Case::new("region-of-account")
            .account(json!({"eks.amazonaws.com/region": "eu-central-1"}))
            .app(json!({"AWS_REGION": "eu-central-1", "AWS_DEFAULT_REGION": "eu-central-1"})),
        Case::new("region-of-pod")
            .account(json!({"eks.amazonaws.com/region": "eu-central-1"}))
            .metadata(region("eu-west-3"))
            .app(json!({"AWS_REGION": "eu-west-3", "AWS_DEFAULT_REGION": "eu-west-3"})),
        Case::new("region-of-nonsense").metadata(region("eu west")),
        Case::new("no-region")
            .metadata(region(""))
            .app(json!({"AWS_REGION": null, "AWS_DEFAULT_REGION": null})),
    ]
}

fn container_lists() -> Vec<Case> {
    vec![
        Case::new("skip-containers")
            .metadata(json!({"annotations": {"eks.amazonaws.com/skip-containers": "other, proxy"}}))
            .spec(two_containers())
            .expect(json!({
                "volumes": {"aws-token": "sts.amazonaws.com 3600"},
                "containers": {
                    "app": given("skip-containers", &["app"])["containers"]["app"],
                    "proxy": {},
                },
            })),
        Case::new("include-containers")
            .account(json!({"eks.amazonaws.com/include-containers": "app"}))
            .spec(two_containers())
            .expect(json!({
                "volumes": {"aws-token": "sts.amazonaws.com 3600"},
                "containers": {
                    "app": given("include-containers", &["app"])["containers"]["app"],
                    "proxy": {},
                },
            })),
        Case::new("include-none")
            .account(json!({"eks.amazonaws.com/include-containers": ""}))
            .expect(none(&["app"])),
    ]
}

fn volumes() -> Vec<Case> {
    let mounted = |path: &str| {
        json!({
            "containers": [
                {"name": "app", "image": "app", "volumeMounts": [{"name": "own", "mountPath": path}]},
                {"name": "proxy", "image": "proxy"},
            ],
            "volumes": [{"name": "own", "emptyDir": {}}],
        })
    };
    let path = TOKEN_FILE.strip_suffix("/token").unwrap();
    let only_proxy = |name| {
        let proxy = given(name, &["proxy"])["containers"]["proxy"].take();
        json!({
            "volumes": {"aws-token": "sts.amazonaws.com 3600"},
            "containers": {"app": {"mount": "own"}, "proxy": proxy},
        })
    };
    let own = json!({"sources": [{"serviceAccountToken": {"audience": "sts.amazonaws.com",
        "expirationSeconds": 1200, "path": "token"}}]});
    let by_hand = |mount: Value, audience: &str| {
        let token = json!({"audience": audience, "expirationSeconds": 1200, "path": "token"});
        let mut of_app = json!({"name": "mine", "mountPath": path, "readOnly": true});
        json_patch::merge(&mut of_app, &mount);
        json!({
            "containers": [{"name": "app", "image": "app", "volumeMounts": [of_app]}],
            "volumes": [{"name": "mine", "projected": {"sources": [{"serviceAccountToken": token}]}}],
        })
    };
    let sts = "sts.amazonaws.com";
    vec![
        Case::new("token-by-hand")
            .spec(by_hand(json!({}), sts))
            .app(json!({"mount": "mine"}))
            .volumes(json!({"aws-token": null, "mine": "sts.amazonaws.com 1200"})),
        Case::new("token-by-hand-with-slash")
            .spec(by_hand(json!({"mountPath": format!("{path}/")}), sts))
            .app(json!({"mount": "mine"}))
            .volumes(json!({"aws-token": null, "mine": "sts.amazonaws.com 1200"})),
        Case::new("token-by-hand-of-another-audience")
            .spec(by_hand(json!({}), "vault"))
            .expect(json!({"volumes": {"mine": "vault 1200"}, "containers": {"app": {"mount": "mine"}}})),
        Case::new("token-by-hand-in-part").spec(by_hand(json!({"subPath": "token"}), sts)).expect(
            json!({"volumes": {"mine": "sts.amazonaws.com 1200"}, "containers": {"app": {"mount": "mine"}}}),
        ),
        Case::new("token-by-hand-elsewhere")
            .spec(by_hand(json!({"mountPath": "/elsewhere"}), sts))
            .volumes(json!({"mine": "sts.amazonaws.com 1200"})),
        Case::new("foreign-volume")
            .spec(json!({"volumes": [{"name": "aws-token", "emptyDir": {}}]}))
            .app(json!({"mount": "aws-token-2"}))
            .volumes(json!({"aws-token": null, "aws-token-2": "sts.amazonaws.com 3600"})),
        Case::new("own-token-volume")
            .spec(json!({"volumes": [{"name": "aws-token", "projected": own}]}))
            .volumes(json!({"aws-token": "sts.amazonaws.com 1200"})),
        Case::new("mount-path-taken").spec(mounted(path)).expect(only_proxy("mount-path-taken")),
        Case::new("mount-path-taken-with-slash")
            .spec(mounted(&format!("{path}/")))
            .expect(only_proxy("mount-path-taken-with-slash")),
    ]
}

fn windows() -> Vec<Case> {
    let file = json!({"AWS_WEB_IDENTITY_TOKEN_FILE": format!("C:{}", TOKEN_FILE.replace('/', "\\"))});
    let expression = json!({"key": "kubernetes.io/os", "operator": "In", "values": ["windows"]});
    let terms = json!({"nodeSelectorTerms": [{"matchExpressions": [expression]}]});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}});
    vec![
        Case::new("windows").spec(json!({"os": {"name": "windows"}})).app(file.clone()),
        Case::new("windows-node-selector")
            .spec(json!({"nodeSelector": {"kubernetes.io/os": "windows"}}))
            .app(file.clone()),
        Case::new("windows-affinity").spec(json!({"affinity": affinity})).app(file),
    ]
}

fn left_alone() -> Vec<Case> {
    vec![
        Case::new("skip-label")
            .metadata(json!({"labels": {"eks.amazonaws.com/skip-pod-identity-webhook": "yes"}}))
            .expect(none(&["app"])),
        Case::new("no-role").account(json!({ROLE_ANNOTATION: null})).expect(none(&["app"])),
        Case::new("empty-role").account(json!({ROLE_ANNOTATION: " "})).expect(none(&["app"])),
        // A mirror pod may name no account, and so has no role anyway.
        Case::new("mirror-pod")
            .metadata(json!({"annotations": {"kubernetes.io/config.mirror": "hash"}}))
            .spec(json!({"serviceAccountName": null, "nodeName": "node"}))
            .expect(none(&["app"])),
    ]
}
