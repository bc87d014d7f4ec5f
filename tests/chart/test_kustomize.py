"""The kustomizations of `deploy/kubernetes`: variants, components, and other names."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from chart import NAME, NAMESPACE, ROOT, render
from generated import COMPONENTS, VARIANTS
from kubernetes import validate

KUBERNETES = ROOT / "deploy/kubernetes"
CONTROL_PLANE = KUBERNETES / "components/control-plane"

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not there to run kustomize")


def build(folder):
    """The objects that `kubectl apply -k` would apply."""
    built = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return [obj for obj in yaml.safe_load_all(built.stdout) if obj]


def overlay(tmp_path, text):
    """The objects of a kustomization that names this repository as `path/to`."""
    (tmp_path / "kustomization.yaml").write_text(text.replace("path/to/", f"{os.path.relpath(ROOT, tmp_path)}/"))
    return build(tmp_path)


def examples():
    """The kustomizations of the README."""
    return re.findall(r"```yaml\n(.*?)```", (KUBERNETES / "README.md").read_text(), re.DOTALL)


def of_kind(objects, kind):
    (one,) = [obj for obj in objects if obj["kind"] == kind]
    return one


@pytest.mark.parametrize("folder", ["", *VARIANTS])
def test_a_variant_is_what_was_rendered(folder):
    as_set = lambda objects: {yaml.safe_dump(o) for o in objects}  # noqa: E731
    plain = yaml.safe_load_all((KUBERNETES / (folder or "self-managed") / "webhook.yaml").read_text())
    assert as_set(build(KUBERNETES / folder)) == as_set(plain)


def test_the_overlay_of_the_readme(tmp_path):
    objects = overlay(tmp_path, examples()[0])
    (container,) = of_kind(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example.com/eks-pod-identity-webhook:0.1.0"
    assert container["env"] == [{"name": "AWS_REGION", "value": "eu-west-1"}]
    (entry,) = of_kind(objects, "MutatingWebhookConfiguration")["webhooks"]
    assert entry["clientConfig"]["caBundle"].startswith("LS0t")


def test_components(tmp_path):
    components = [path.parent for path in sorted((KUBERNETES / "components").glob("*/kustomization.yaml"))]
    components.append(ROOT / "dashboards")
    readme = (KUBERNETES / "README.md").read_text()
    for component in components:
        assert f"| `{component.relative_to(ROOT)}` |" in readme, "the README lists it"
    # It replaces the Deployment and the Service, which others change or select.
    components.remove(CONTROL_PLANE)
    listed = ", ".join(f"path/to/{component.relative_to(ROOT)}" for component in components)
    objects = overlay(tmp_path, f"resources: [path/to/deploy/kubernetes]\ncomponents: [{listed}]\n")
    for obj in objects:
        validate(obj)
        assert obj["metadata"].get("namespace", NAMESPACE) == NAMESPACE
    assert of_kind(objects, "Deployment")["spec"]["replicas"] == 1
    kinds = {obj["kind"] for obj in objects}
    assert kinds >= {kind for _, added in COMPONENTS.values() for kind in added} - {"DaemonSet"}
    dashboards = [obj for obj in objects if obj["kind"] == "ConfigMap"]
    assert {file for dashboard in dashboards for file in dashboard["data"]} == {
        path.name for path in (ROOT / "dashboards").glob("*.json")
    }
    assert all(dashboard["metadata"]["labels"] == {"grafana_dashboard": "1"} for dashboard in dashboards)


@pytest.mark.parametrize("variant", VARIANTS)
def test_another_namespace_and_name(tmp_path, variant):
    """The objects are those that the chart renders for that namespace and name."""
    (example,) = [text for text in examples() if "namePrefix" in text]
    text = re.sub("components:.*?transformers", "transformers", example, flags=re.DOTALL).replace("self-managed", variant)
    assert_renamed(overlay(tmp_path, text), VARIANTS[variant])


def test_the_control_plane_is_what_the_chart_renders(tmp_path):
    """With its own names and with others."""
    values = {"controlPlane": {"enabled": True}}
    component = "components: [path/to/deploy/kubernetes/components/control-plane]\n"
    built = {(o["kind"], o["metadata"]["name"]): o for o in overlay(tmp_path, f"resources: [path/to/deploy/kubernetes]\n{component}")}
    namespace = built.pop(("Namespace", NAMESPACE))
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "privileged"}
    assert built == {(o["kind"], o["metadata"]["name"]): without_helm(o) for o in render(values).objects}

    (example,) = [text for text in examples() if "namePrefix" in text]
    text = re.sub("components:.*?transformers", f"{component}transformers", example, flags=re.DOTALL)
    text = text.replace("self-managed/names", "components/control-plane/names")
    assert_renamed(overlay(tmp_path, text), values)


@pytest.mark.parametrize("variant", [variant for variant in VARIANTS if variant != "self-managed"])
def test_the_control_plane_is_refused_with_other_certificates(tmp_path, variant):
    text = f"resources: [path/to/deploy/kubernetes/{variant}]\ncomponents: [path/to/deploy/kubernetes/components/control-plane]\n"
    with pytest.raises(AssertionError, match="no matches for Id Secret.*eks-pod-identity-webhook-tls"):
        overlay(tmp_path, text)


def assert_renamed(objects, values):
    """The objects are those that the chart renders for the namespace and the name of the README's example."""
    built = {(o["kind"], o["metadata"]["name"]): o for o in objects}
    expected = render(values | {"fullnameOverride": f"blue-{NAME}", "namespaceOverride": "identity"}).objects
    assert built.pop(("Namespace", "identity"))
    assert built.keys() == {(o["kind"], o["metadata"]["name"]) for o in expected}
    for obj in expected:
        assert built[obj["kind"], obj["metadata"]["name"]] == with_kept_names(without_helm(obj)), obj["kind"]


def without_helm(obj):
    """The object without the labels that say that Helm manages it."""
    helm = ("app.kubernetes.io/managed-by", "helm.sh/chart")
    labels = {key: value for key, value in obj["metadata"]["labels"].items() if key not in helm}
    return obj | {"metadata": obj["metadata"] | {"labels": labels}}


def with_kept_names(obj):
    """Names of Secrets that no manifest has, which cert-manager or the user creates, stay as they were."""
    text = yaml.safe_dump(obj)
    for name in ("commonName", "secretName"):
        text = text.replace(f"{name}: blue-{NAME}-c", f"{name}: {NAME}-c")
    return yaml.safe_load(text)
