"""Helm's lint has no findings in any case, and the oldest and the newest supported Kubernetes accept every object. The notes."""

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


def test_kubernetes_accepts_every_object(case):
    for obj in rendered(case).objects + rendered(case).hooks:
        validate(obj)


def test_names_are_unique_and_namespaces_are_right(case):
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
        expected = None if obj["kind"] in cluster_wide else namespace_of(case, obj["kind"])
        assert obj["metadata"].get("namespace") == expected, obj["kind"]
        assert len(obj["metadata"]["name"]) <= (52 if obj["kind"] == "CronJob" else 63)
    names = [(o["kind"], o["metadata"]["name"]) for o in objects]
    assert len(names) == len(set(names))


def namespace_of(case, kind):
    """Where an object belongs that is not cluster-wide."""
    elsewhere = {
        "service-monitor": ["ServiceMonitor"],
        "pod-monitor": ["PodMonitor"],
        "control-plane-options": ["PodMonitor"],
        "observability-elsewhere": ["PrometheusRule", "ConfigMap", "GrafanaDashboard"],
    }
    return "monitoring" if kind in elsewhere.get(case, []) else CASES[case].get("namespaceOverride", NAMESPACE)


def test_the_cases_render_every_template():
    templates = {path.name for path in (CHART / "templates").rglob("*.yaml")}
    with helm_python.Chart.load(CHART) as chart:
        for values in CASES.values():
            files = chart.render(values, name="release", namespace=NAMESPACE)
            templates -= {path.rpartition("/")[2] for path, text in files.items() if text.strip()}
    assert templates == set()


def test_policy_mode_does_not_install_the_program():
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


def test_disabled_nothing_is_installed():
    out = rendered("disabled")
    assert (out.objects, out.hooks, out.notes.strip()) == ([], [], "")


@pytest.mark.parametrize("case", WEBHOOK)
def test_the_notes_name_what_was_installed(case):
    out = rendered(case)
    assert f"deployment/{out.the('Deployment')['metadata']['name']}" in out.notes
    warns = "caBundle is empty" in out.notes
    assert warns == (case in ("tls-secret-without-bundle", "extras-with-files"))


def test_in_policy_mode_the_notes_describe_the_policy():
    notes = rendered("policy-settings").notes
    assert "The MutatingAdmissionPolicy eks-pod-identity-webhook is installed" in notes
    assert "example.com/role-arn=" in notes and "rollout" not in notes and "helm " not in notes
    assert "no effect in mode policy" not in notes


def test_in_policy_mode_the_notes_list_the_settings_without_effect():
    assert "no effect in mode policy: config.drainDelay, env.LOG_LEVEL\n" in rendered("policy-checks").notes


def test_the_notes_name_the_region():
    assert "AWS region of the pods: us-east-1 " in rendered("defaults").notes
    assert "AWS region of the pods: us-west-2 " in rendered("env").notes
    assert "AWS region of the pods: none " in render({"config": {"awsRegion": ""}}).notes


@pytest.mark.parametrize("values", [{}, {"mode": "policy"}], ids=str)
def test_the_notes_name_the_namespaces_that_are_left_out(values):
    assert f"Excluded namespaces: kube-system, {NAMESPACE} " in render(values).notes
    assert "Add-ons in kube-system" in render(values).notes
    without = values | {"webhook": {"excludedNamespaces": ["a"]}}
    assert f"Excluded namespaces: a, {NAMESPACE} " in render(without).notes
    assert "Add-ons in kube-system" not in render(without).notes


def test_the_notes_say_where_a_local_image_must_be():
    assert "kind load docker-image" in rendered("defaults").notes
    for case in ("image", "image-registry", "globals", "policy"):
        assert "kind load" not in rendered(case).notes


def test_the_notes_say_what_to_do_next():
    notes = render(name="blue", values={"runbookUrl": "https://docs.example.com/runbook"}).notes
    assert f"helm --namespace {NAMESPACE} test blue --logs" in notes
    assert "doctor" in notes and "https://docs.example.com/runbook" in notes


def test_the_notes_warn_of_one_replica():
    assert "get no role" in rendered("one-replica").notes
    assert "are rejected" in rendered("fail-closed").notes
    assert "With one replica" not in rendered("defaults").notes
