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
    listed = ", ".join(f"path/to/{component.relative_to(ROOT)}" for component in components)
    objects = overlay(tmp_path, f"resources: [path/to/deploy/kubernetes]\ncomponents: [{listed}]\n")
    for obj in objects:
        validate(obj)
        assert obj["metadata"].get("namespace", NAMESPACE) == NAMESPACE
    assert of_kind(objects, "Deployment")["spec"]["replicas"] == 1
    kinds = {obj["kind"] for obj in objects}
    assert kinds >= {kind for _, added in COMPONENTS.values() for kind in added}
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
    built = {(o["kind"], o["metadata"]["name"]): o for o in overlay(tmp_path, text)}
    expected = render(
        VARIANTS[variant] | {"fullnameOverride": f"blue-{NAME}", "namespaceOverride": "identity"}
    ).objects
    assert built.pop(("Namespace", "identity"))
    assert built.keys() == {(o["kind"], o["metadata"]["name"]) for o in expected}
    for obj in expected:
        del obj["metadata"]["labels"]["app.kubernetes.io/managed-by"], obj["metadata"]["labels"]["helm.sh/chart"]
        assert built[obj["kind"], obj["metadata"]["name"]] == with_kept_names(obj), obj["kind"]


def with_kept_names(obj):
    """Names of Secrets that no manifest has, which cert-manager or the user creates, stay as they were."""
    text = yaml.safe_dump(obj)
    for name in ("commonName", "secretName"):
        text = text.replace(f"{name}: blue-{NAME}-c", f"{name}: {NAME}-c")
    return yaml.safe_load(text)
