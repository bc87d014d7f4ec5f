"""Every case: Helm's lint is silent, and Kubernetes takes the objects, the oldest that is supported and the newest."""

import helm_python
import pytest

from cases import CASES, WEBHOOK
from chart import CHART, NAMESPACE, render, rendered
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
    cluster_wide = {
        "ClusterRole",
        "ClusterRoleBinding",
        "MutatingWebhookConfiguration",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    }
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
    assert not kinds & {
        "Deployment",
        "Service",
        "Secret",
        "MutatingWebhookConfiguration",
        "ClusterRole",
        "ServiceAccount",
    }


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


def test_in_policy_mode_the_notes_speak_of_the_policy():
    notes = rendered("policy-settings").notes
    assert "nothing runs" in notes and "example.com/role-arn=" in notes and "rollout" not in notes


def test_the_notes_name_the_region():
    assert "region us-east-1 " in rendered("defaults").notes
    assert "region us-west-2 " in rendered("env").notes
    assert "no AWS region" in render({"config": {"awsRegion": ""}}).notes


def test_the_notes_say_what_one_replica_means():
    assert "get no role" in rendered("one-replica").notes
    assert "are rejected" in rendered("fail-closed").notes
    assert "With one replica" not in rendered("defaults").notes
