"""Certificates, rights, and the pods that the API server calls the webhook for."""

import itertools

import pytest

from cases import WEBHOOK
from chart import NAMESPACE, render, rendered

SERVICE = "eks-pod-identity-webhook"


def rules(out, kind):
    """The rules of the program's roles. Those of other commands are in test_checks."""
    return [rule for role in out.all(kind) if role["metadata"]["name"] == out.full_name for rule in role["rules"]]


SERVICE_ACCOUNTS = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["list", "watch"]}
NAMESPACES = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["list", "watch"]}
CONFIG_MAP = {
    "apiGroups": [""],
    "resources": ["configmaps"],
    "resourceNames": ["pod-identity-webhook"],
    "verbs": ["get", "watch"],
}


def watches_config_map(out):
    """Whether the program will; the flag wins over the variable."""
    env = {e["name"]: e.get("value") for e in out.container.get("env", [])}
    return out.flags.get("watch-config-map", env.get("WATCH_CONFIG_MAP")) == "true"


def test_the_config_map_is_watched_if_a_setting_says_so():
    cases = ["defaults", "config-map", "config-map-by-env", "config-map-not", "every-setting"]
    assert [watches_config_map(rendered(case)) for case in cases] == [False, True, True, False, True]


def test_namespaces_are_watched_if_the_role_policy_restricts_the_config_map():
    cases = ["role-policy", "role-policy-warns", "config-map", "role-policy-mappings", "role-policy-mappings-warns"]
    flags = [rendered(case).flags.get("role-policy") for case in cases]
    assert flags == [None, None, None, "arn:aws:iam::111122223333:role/tenants/{namespace}/*", None]


def test_rights_are_exact(webhook):
    if not webhook.all("ClusterRole"):
        return
    config_map = [CONFIG_MAP] if watches_config_map(webhook) else []
    read = [SERVICE_ACCOUNTS, NAMESPACES] if "role-policy" in webhook.flags else [SERVICE_ACCOUNTS]
    if "tls-self-managed" not in webhook.flags:
        assert rules(webhook, "ClusterRole") == read and rules(webhook, "Role") == config_map
        return
    assert rules(webhook, "ClusterRole") == [
        *read,
        {
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"],
            "resourceNames": [webhook.the("MutatingWebhookConfiguration")["metadata"]["name"]],
            "verbs": ["get", "watch", "patch"],
        },
    ]
    assert rules(webhook, "Role") == [
        {
            "apiGroups": [""],
            "resources": ["secrets"],
            "resourceNames": [webhook.the("Secret")["metadata"]["name"]],
            "verbs": ["get", "watch", "update"],
        },
        *config_map,
    ]


def test_rights_go_to_the_pods_account(webhook):
    account = webhook.pod["spec"]["serviceAccountName"]
    for binding in webhook.all("ClusterRoleBinding") + webhook.all("RoleBinding"):
        if binding["roleRef"]["name"] == webhook.full_name:
            assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": webhook.namespace}]
    accounts = {created["metadata"]["name"] for created in webhook.all("ServiceAccount")}
    commands = {job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"] for job in webhook.all("CronJob")}
    assert accounts - commands <= {account}


def test_without_rbac_there_are_no_rights():
    out = rendered("without-rbac")
    assert not [o for o in out.objects + out.hooks if "Role" in o["kind"]] and not out.all("ServiceAccount")
    assert out.pod["spec"]["serviceAccountName"] == "theirs"
    assert rendered("default-account").pod["spec"]["serviceAccountName"] == "default"


def bundles(out):
    entries = out.the("MutatingWebhookConfiguration")["webhooks"]
    return [entry["clientConfig"].get("caBundle") for entry in entries]


@pytest.mark.parametrize("case", WEBHOOK)
def test_the_chart_leaves_the_fields_of_the_program_unset(case):
    """An upgrade changes only fields that the chart sets. The Secret's data and caBundle must not be among them."""
    out = rendered(case)
    if "tls-self-managed" not in out.flags:
        assert not out.all("Secret")
        return
    secret = out.the("Secret")
    assert secret.keys() == {"apiVersion", "kind", "metadata", "type"} and secret["type"] == "Opaque"
    assert set(bundles(out)) == {None}
    assert out.flags["tls-secret-name"] == secret["metadata"]["name"]
    assert out.flags["tls-service-name"] == out.the("Service")["metadata"]["name"]
    assert out.flags["webhook-configuration-name"] == out.the("MutatingWebhookConfiguration")["metadata"]["name"]
    assert out.flags["namespace"] == NAMESPACE
    assert "certificate" not in [volume["name"] for volume in out.pod["spec"].get("volumes", [])]


def test_self_managed_options():
    out = rendered("tls-self-managed-options")
    assert out.the("Secret")["metadata"]["name"] == "certs"
    assert out.flags["tls-cluster-domain"] == "example.internal"
    assert out.flags["tls-ca-validity"] == "2years"
    assert out.flags["tls-leaf-validity"] == "60days"
    assert out.flags["tls-rotation-overlap"] == "1h30m"


def certificate_secret(out):
    (volume,) = [v for v in out.pod["spec"]["volumes"] if v["name"] == "certificate"]
    (mount,) = [m for m in out.container["volumeMounts"] if m["name"] == "certificate"]
    assert mount == {"name": "certificate", "mountPath": "/etc/webhook/certs", "readOnly": True}
    return volume["secret"]["secretName"]


def test_cert_manager():
    out = rendered("tls-cert-manager")
    certificates = {c["metadata"]["name"]: c["spec"] for c in out.all("Certificate")}
    leaf, authority = certificates[SERVICE], certificates[f"{SERVICE}-ca"]
    assert leaf["dnsNames"] == [f"{SERVICE}.{NAMESPACE}.svc", f"{SERVICE}.{NAMESPACE}.svc.cluster.local"]
    assert certificate_secret(out) == leaf["secretName"] != authority["secretName"]
    issuers = {i["metadata"]["name"]: i["spec"] for i in out.all("Issuer")}
    assert issuers[leaf["issuerRef"]["name"]] == {"ca": {"secretName": authority["secretName"]}}
    assert authority["isCA"] and issuers[authority["issuerRef"]["name"]] == {"selfSigned": {}}
    annotations = out.the("MutatingWebhookConfiguration")["metadata"]["annotations"]
    assert annotations == {"cert-manager.io/inject-ca-from": f"{NAMESPACE}/{SERVICE}", "example.com/a": "b"}
    assert bundles(out) == [None]


def test_cert_manager_with_an_issuer():
    out = rendered("tls-cert-manager-issuer")
    assert not out.all("Issuer")
    assert out.the("Certificate")["spec"]["issuerRef"] == {"name": "corporate", "kind": "ClusterIssuer"}


def test_an_existing_secret():
    out = rendered("tls-secret")
    assert certificate_secret(out) == "mine" and bundles(out) == ["LS0tLS1CRUdJTg=="]
    assert bundles(rendered("tls-secret-without-bundle")) == [None]


def test_a_change_of_mode_never_shares_a_secret():
    """Otherwise Helm would delete a Secret that cert-manager has already written."""
    own = rendered("defaults").the("Secret")["metadata"]["name"]
    assert own not in [c["spec"]["secretName"] for c in rendered("tls-cert-manager").all("Certificate")]


def test_the_entry_by_default():
    (entry,) = rendered("defaults").the("MutatingWebhookConfiguration")["webhooks"]
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "scope": "Namespaced"}
    assert entry["rules"] == [
        pods | {"operations": ["CREATE"], "resources": ["pods"]},
        pods | {"operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]},
    ]
    policies = ("failurePolicy", "timeoutSeconds", "reinvocationPolicy", "matchPolicy", "sideEffects")
    assert [entry[key] for key in policies] == ["Ignore", 5, "IfNeeded", "Equivalent", "None"]
    assert entry["matchConditions"][0]["name"] == "not-a-mirror-pod"


def selects(selector, labels):
    """As Kubernetes evaluates a label selector."""
    meets = {
        "In": lambda e: labels.get(e["key"]) in e["values"],
        "NotIn": lambda e: labels.get(e["key"]) not in e["values"],
        "Exists": lambda e: e["key"] in labels,
        "DoesNotExist": lambda e: e["key"] not in labels,
    }
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        meets[e["operator"]](e) for e in selector.get("matchExpressions", [])
    )


def test_the_webhook_does_not_depend_on_itself(webhook):
    for entry in webhook.the("MutatingWebhookConfiguration")["webhooks"]:
        assert not selects(entry["namespaceSelector"], {"kubernetes.io/metadata.name": webhook.namespace})


def test_kube_system_is_left_out():
    (entry,) = rendered("defaults").the("MutatingWebhookConfiguration")["webhooks"]
    assert not selects(entry["namespaceSelector"], {"kubernetes.io/metadata.name": "kube-system"})
    assert selects(entry["namespaceSelector"], {"kubernetes.io/metadata.name": "default"})


def test_a_namespace_selector_applies_in_addition():
    for entry in rendered("selectors").the("MutatingWebhookConfiguration")["webhooks"]:
        selector = entry["namespaceSelector"]
        assert selects(selector, {"kubernetes.io/metadata.name": "default", "team": "a"})
        assert not selects(selector, {"kubernetes.io/metadata.name": "default"})
        assert not selects(selector, {"kubernetes.io/metadata.name": "default", "team": "a", "no": ""})
        assert not selects(selector, {"kubernetes.io/metadata.name": "kube-system", "team": "a"})
        assert [c["name"] for c in entry["matchConditions"]] == ["not-a-mirror-pod", "not-the-batch-user"]


PREFIXES = {"require": "eks.amazonaws.com", "require-with-policy": "example.com", "prefix-by-env": "example.org"}


@pytest.mark.parametrize("case", PREFIXES)
def test_each_pod_has_one_entry(case):
    prefix = PREFIXES[case]
    entries = rendered(case).the("MutatingWebhookConfiguration")["webhooks"]
    assert [entry["failurePolicy"] for entry in entries] == ["Ignore", "Fail"]
    for require, skip in itertools.product((None, "", "true", "false"), (None, "", "true")):
        labels = {f"{prefix}/require-pod-identity": require, f"{prefix}/skip-pod-identity-webhook": skip}
        labels = {key: value for key, value in labels.items() if value is not None}
        asked = [selects(entry["objectSelector"], labels) for entry in entries]
        if skip is not None:
            assert asked == [False, False]
        else:
            assert asked == ([False, True] if require == "true" else [True, False])


def test_an_object_selector_is_not_for_pods_that_require_an_identity():
    first, second = rendered("selectors").the("MutatingWebhookConfiguration")["webhooks"]
    require = {"eks.amazonaws.com/require-pod-identity": "true"}
    assert selects(first["objectSelector"], {"app": "a", "tier": "web"})
    assert not selects(first["objectSelector"], {"app": "a"})
    assert not selects(first["objectSelector"], {"app": "a", "tier": "web"} | require)
    assert selects(second["objectSelector"], require)


@pytest.mark.parametrize("case", ["require-with-policy", "policy-require"])
def test_the_policy_checks_pods_that_require_an_identity(case):
    out = rendered(case)
    prefix = "example.com" if case == "require-with-policy" else "eks.amazonaws.com"
    policy = out.named("ValidatingAdmissionPolicy", "-require")
    assert policy["spec"]["matchConstraints"]["objectSelector"] == {
        "matchLabels": {f"{prefix}/require-pod-identity": "true"}
    }
    (rule,) = policy["spec"]["matchConstraints"]["resourceRules"]
    assert rule["operations"] == ["CREATE"] and rule["resources"] == ["pods"]
    assert policy["spec"]["failurePolicy"] == "Fail"
    binding = out.named("ValidatingAdmissionPolicyBinding", "-require")["spec"]
    assert binding == {"policyName": policy["metadata"]["name"], "validationActions": ["Deny"]}


def test_the_policy_is_off_by_default():
    for out in rendered("require"), render({"requirePodIdentity": {"validatingPolicy": True}}):
        assert not any(policy["metadata"]["name"].endswith("-require") for policy in out.all("ValidatingAdmissionPolicy"))


def test_the_policy_leaves_out_what_the_webhook_leaves_out():
    """With the same values, both modes look at the same pods."""
    webhook = rendered("selectors").the("MutatingWebhookConfiguration")["webhooks"][0]
    spec = rendered("policy-selectors").the("MutatingAdmissionPolicy")["spec"]
    constraints = spec["matchConstraints"]
    assert constraints["namespaceSelector"] == webhook["namespaceSelector"]
    assert constraints["resourceRules"] == webhook["rules"]
    assert (spec["failurePolicy"], spec["reinvocationPolicy"]) == ("Fail", "IfNeeded")
    expressions = webhook["objectSelector"]["matchExpressions"]
    # That it requires no identity is of the webhook's two entries.
    others = [entry for entry in expressions if entry["operator"] != "NotIn"]
    assert constraints["objectSelector"] == webhook["objectSelector"] | {"matchExpressions": others}
    own, *users = spec["matchConditions"]
    mirror, *webhook_users = webhook["matchConditions"]
    assert users == webhook_users and mirror["expression"] in own["expression"]
