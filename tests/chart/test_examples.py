"""Every file in `deploy/examples` works."""

import pytest
import yaml

from chart import ROOT, render
from kubernetes import validate

EXAMPLES = ROOT / "deploy/examples"


def values_of(name):
    return yaml.safe_load((EXAMPLES / f"values-{name}.yaml").read_text())


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("values-*.yaml")), ids=lambda path: path.name)
def test_the_values_render(path):
    out = render(yaml.safe_load(path.read_text()))
    for obj in out.objects + out.hooks:
        validate(obj)


def test_on_private_gke_the_control_plane_reaches_the_port_and_the_quota_admits_the_pods():
    out = render(values_of("gke-private"))
    assert out.flags["listen"].endswith(":10250")
    assert out.the("ResourceQuota")["metadata"]["namespace"] == out.namespace


def test_on_openshift_pods_are_as_restricted_v2_wants_them():
    out = render(values_of("openshift"))
    pods = [out.pod["spec"], *(hook["spec"] for hook in out.hooks if hook["kind"] == "Pod")]
    for pod in pods:
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & pod["securityContext"].keys()
        for container in pod["containers"]:
            assert not {"runAsUser", "runAsGroup", "privileged"} & container["securityContext"].keys()
        allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
        assert all(volume.keys() - {"name"} <= allowed for volume in pod.get("volumes", []))
    conditions = [c["expression"] for c in out.the("MutatingWebhookConfiguration")["webhooks"][0]["matchConditions"]]
    assert "!request.namespace.startsWith('openshift-')" in conditions


def test_on_overlays_the_pods_use_the_network_of_the_node():
    assert render(values_of("cilium")).pod["spec"]["hostNetwork"] is True
