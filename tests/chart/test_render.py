"""Every case: Helm's lint is silent, and Kubernetes takes the objects, the oldest that is supported and the newest."""

import re

import helm_python
import pytest

from cases import CASES, WEBHOOK
from chart import CHART, NAMESPACE, default_values, render, rendered, schema
from kubernetes import NEWEST, OLDEST, validate

INFO = 1


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_lint(case, version):
    report = helm_python.lint(CHART, CASES[case], strict=True, namespace=NAMESPACE, kube_version=f"v{version}.0")
    assert not report["errors"]
    assert [m["error"] for m in report["messages"] if m["severity"] != INFO] == []


def test_kubernetes_takes_every_object(case):
    for obj in rendered(case).objects:
        validate(obj)


def test_objects_are_named_once_and_placed(case):
    objects = rendered(case).objects
    cluster_wide = {"ClusterRole", "ClusterRoleBinding", "MutatingWebhookConfiguration", "MutatingAdmissionPolicy",
                    "MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    for obj in objects:
        assert obj["metadata"].get("namespace") == (None if obj["kind"] in cluster_wide else NAMESPACE)
        assert len(obj["metadata"]["name"]) <= 63
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))


def test_the_cases_render_every_template():
    templates = {path.name for path in (CHART / "templates").glob("*.yaml")}
    with helm_python.Chart.load(CHART) as chart:
        for values in CASES.values():
            files = chart.render(values, name="release", namespace=NAMESPACE)
            templates -= {path.rpartition("/")[2] for path, text in files.items() if text.strip()}
    # What there are no files for yet.
    if not [*(CHART / "files/dashboards").glob("*.json")]:
        templates.discard("dashboards.yaml")
    if not (CHART / "files/rules.yaml").exists():
        templates.discard("prometheusrule.yaml")
    assert templates == set()


def test_in_policy_mode_nothing_runs():
    kinds = {obj["kind"] for obj in rendered("policy").objects}
    assert not kinds & {"Deployment", "Service", "Secret", "MutatingWebhookConfiguration", "ClusterRole", "ServiceAccount"}


def test_another_release_name_and_namespace():
    out = render(name="blue", namespace="elsewhere")
    for obj in out.objects:
        validate(obj)
    assert out.the("Deployment")["metadata"]["name"] == "blue-eks-pod-identity-webhook"
    assert out.flags["namespace"] == "elsewhere"
    assert NAMESPACE not in out.text


def test_as_a_subchart_with_globals():
    render({"global": {"imageRegistry": "registry.example.com"}})


@pytest.mark.parametrize("case", WEBHOOK)
def test_the_notes_name_what_was_installed(case):
    out = rendered(case)
    assert f"deployment/{out.the('Deployment')['metadata']['name']}" in out.notes
    warns = "caBundle is empty" in out.notes
    assert warns == (case in ("tls-secret-without-bundle", "extras-with-files"))


def test_the_notes_name_the_region():
    assert "region us-east-1 " in rendered("defaults").notes
    assert "region us-west-2 " in rendered("env").notes


def test_the_notes_say_what_one_replica_means():
    assert "get no role" in rendered("one-replica").notes
    assert "are rejected" in rendered("fail-closed").notes
    assert "With one replica" not in rendered("defaults").notes


def test_changing_what_is_refused_names_the_reason():
    for values, reason in {
        "tls.secret.name": ({"tls": {"mode": "secret"}}, "set tls.secret.name"),
        "grace": ({"terminationGracePeriodSeconds": 24}, "the drain may take 25 seconds"),
        "grace of env": ({"terminationGracePeriodSeconds": 30, "env": {"DRAIN_DELAY": "11s"}}, "the drain may take 31 seconds"),
        "ports": ({"adminPort": 8443}, "both 8443"),
        "kubelet": ({"hostNetwork": True, "containerPort": 10250}, "the kubelet's"),
        "monitors": ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "read twice"),
    }.values():
        with pytest.raises(helm_python.HelmError, match=re.escape(reason)):
            render(values)


def test_the_schema_has_every_value_and_no_other():
    def keys(node, prefix=""):
        for key, value in node.get("properties", {}).items():
            if "$ref" in value:
                value = schema()["definitions"][value["$ref"].rpartition("/")[2]]
            yield prefix + key
            yield from keys(value, f"{prefix}{key}.")

    def given(values, prefix=""):
        for key, value in values.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from given(value, f"{prefix}{key}.")

    # What Kubernetes defines; a chart's parent may give `global`.
    opaque = re.compile(
        r"^(global$|(resources|livenessProbe|readinessProbe|updateStrategy|affinity|nodeSelector|podSecurityContext|"
        r"securityContext|dashboards\.labels|webhook\.(namespace|object)Selector|tls\.certManager\.issuerRef)\.|global)"
    )
    documented = {path for path in given(default_values()) if not opaque.search(path)}
    assert {path for path in keys(schema()) if not opaque.search(path)} == documented


def test_no_object_of_the_schema_is_open_by_accident():
    open_on_purpose = {"global", "policy", "podSecurityContext", "securityContext"}

    def check(node, path):
        if node.get("type") == "object" and "properties" not in node:
            assert "additionalProperties" in node or path in open_on_purpose, path
        if "properties" in node:
            assert node["additionalProperties"] is False, path

    check(schema(), "")
    for key, node in schema()["properties"].items():
        check(node, key)
    for key, node in schema()["definitions"].items():
        check(node, key)


@pytest.mark.parametrize(
    "typo",
    [
        {"replicas": 2},
        {"replicaCount": "two"},
        {"mode": "webhooks"},
        {"image": {"repo": "x"}},
        {"image": {"digest": "latest"}},
        {"config": {"awsregion": "us-west-2"}},
        {"config": {"lookupGrace": "1"}},
        {"config": {"lookupGrace": 1}},
        {"config": {"logFormat": "xml"}},
        {"config": {"tokenExpiration": 60}},
        {"env": {"AWS REGION": "x"}},
        {"env": {"AWS_REGION": None, "A": {"value": "x"}}},
        {"env": ["AWS_REGION=x"]},
        {"extraEnv": {"A": "x"}},
        {"tls": {"mode": "self-managed"}},
        {"tls": {"certManager": {"issuer": "x"}}},
        {"tls": {"secret": {"caBundle": "-----BEGIN CERTIFICATE-----"}}},
        {"webhook": {"failurePolicy": "ignore"}},
        {"webhook": {"timeoutSeconds": 31}},
        {"webhook": {"matchConditions": [{"name": "x"}]}},
        {"webhook": {"objectSelector": {"matchLabel": {}}}},
        {"requirePodIdentity": True},
        {"containerPort": 0},
        {"adminPort": 65536},
        {"listenAddress": "::"},
        {"service": {"port": "https"}},
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        {"podDisruptionBudget": {"minAvailable": 1}},
        {"resources": {"limit": {}}},
        {"tolerations": {}},
        {"affinity": {"nodeAffinities": {}}},
        {"livenessProbe": {"period": 1}},
        {"networkPolicy": {"egress": {"apiServerPorts": []}}},
        {"serviceMonitor": {"interval": "30"}},
    ],
    ids=str,
)
def test_the_schema_refuses(typo):
    with pytest.raises(helm_python.HelmValuesError):
        render(typo)
