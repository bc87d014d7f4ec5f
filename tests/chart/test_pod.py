"""The image, and fields that pods and Deployment take from values as they are."""

import pytest

from cases import CASES
from chart import default_values, render, rendered


def test_the_default_image_has_no_registry():
    """A name with a registry that nobody owns yet could be registered by anyone."""
    assert default_values()["image"]["registry"] == "" and "/" not in default_values()["image"]["repository"]
    assert rendered("defaults").container["image"] == "eks-pod-identity-webhook:0.1.0"


def test_the_image():
    assert rendered("image").container["image"] == "registry.example.com/webhook@sha256:" + "0" * 64
    assert rendered("image-registry").container["image"] == "registry.example.com/team/webhook:0.1.0"
    assert rendered("globals").container["image"] == "mirror.example.com/eks-pod-identity-webhook:0.1.0"
    assert render({"image": {"tag": "9"}}).container["image"] == "eks-pod-identity-webhook:9"


def test_every_pod_has_the_image_and_its_pull_secrets():
    out = rendered("globals")
    pods = [out.pod, out.the("CronJob")["spec"]["jobTemplate"]["spec"]["template"], out.hooks[0]]
    assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [out.container["image"]] * 3
    secrets = [{"name": "mirror"}, {"name": "other"}, {"name": "own"}]
    assert [pod["spec"]["imagePullSecrets"] for pod in pods] == [secrets] * 3


@pytest.mark.parametrize("field", ["dnsConfig", "hostAliases", "runtimeClassName"])
def test_fields_of_the_pod(field):
    assert rendered("pod-fields").pod["spec"][field] == CASES["pod-fields"][field]
    assert field not in rendered("defaults").pod["spec"]


def test_fields_of_the_deployment():
    assert rendered("pod-fields").the("Deployment")["spec"]["revisionHistoryLimit"] == 0
    assert "revisionHistoryLimit" not in rendered("defaults").the("Deployment")["spec"]


def test_the_startup_probe():
    assert rendered("pod-fields").container["startupProbe"] == {
        "httpGet": {"path": "/livez", "port": "admin"},
        "failureThreshold": 30,
        "periodSeconds": 1,
    }
    assert "startupProbe" not in rendered("defaults").container


def test_more_containers():
    spec = rendered("more-containers").pod["spec"]
    assert spec["initContainers"] == CASES["more-containers"]["initContainers"]
    assert [container["name"] for container in spec["containers"]] == ["webhook", "proxy"]


def test_replicas():
    def replicas(case):
        return rendered(case).the("Deployment")["spec"].get("replicas")

    assert replicas("defaults") == 2
    assert replicas("replicas-left-out") is None, "an autoscaler of the user's own sets them"
    assert replicas("autoscaling") is None


def test_autoscaling():
    out = rendered("autoscaling")
    spec = out.the("HorizontalPodAutoscaler")["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": out.full_name}
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 6)
    cpu, memory = spec["metrics"]
    assert cpu["resource"] == {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}
    assert memory["resource"]["name"] == "memory"
    assert spec["behavior"] == {"scaleDown": {"stabilizationWindowSeconds": 600}}
    assert not rendered("defaults").all("HorizontalPodAutoscaler")


def test_traffic_distribution():
    assert rendered("service").the("Service")["spec"]["trafficDistribution"] == "PreferClose"
    assert "trafficDistribution" not in rendered("defaults").the("Service")["spec"]
