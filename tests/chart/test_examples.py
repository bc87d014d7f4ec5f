"""Every file in `deploy/examples` works."""

import re
import shlex
import shutil
import subprocess

import pytest
import yaml

from chart import ROOT, binary, render
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


def test_on_the_control_plane_only_prometheus_leaves_the_node():
    out = render(values_of("control-plane"))
    assert out.the("DaemonSet") and not out.all("Service")
    assert out.flags["listen"].startswith("127.0.0.1:") and out.flags["admin-listen"].startswith("[::]:")
    (endpoint,) = out.the("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert endpoint["relabelings"], "the pods declare no port"


FLUX = {obj["kind"]: obj for obj in yaml.safe_load_all((EXAMPLES / "flux.yaml").read_text())}
ARGO_CD = yaml.safe_load((EXAMPLES / "argo-cd.yaml").read_text())


def test_argo_cd_installs_the_chart():
    validate(ARGO_CD)
    spec = ARGO_CD["spec"]
    assert (ROOT / spec["source"]["path"] / "Chart.yaml").exists()
    out = render(spec["source"]["helm"]["valuesObject"], namespace=spec["destination"]["namespace"])
    assert out.flags["aws-region"] == "us-west-2" and out.container["image"].startswith("registry.example.com/")


def test_flux_installs_the_chart():
    for obj in FLUX.values():
        validate(obj)
    spec = FLUX["HelmRelease"]["spec"]
    source = spec["chart"]["spec"]["sourceRef"]
    assert FLUX[source["kind"]]["metadata"]["name"] == source["name"]
    assert (ROOT / spec["chart"]["spec"]["chart"] / "Chart.yaml").exists()
    out = render(spec["values"], name=spec["releaseName"], namespace=spec["targetNamespace"])
    assert out.flags["aws-region"] == "us-west-2" and out.hooks


@pytest.mark.parametrize("name", ["argo-cd", "flux"])
def test_the_page_shows_the_file(name):
    assert f"```yaml\n{(EXAMPLES / name).with_suffix('.yaml').read_text()}```" in (ROOT / "docs/operate/gitops.md").read_text()


TERRAFORM_README = (EXAMPLES / "terraform/README.md").read_text()
TERRAFORM = {path.name: path.read_text() for path in sorted((EXAMPLES / "terraform").glob("*.tf"))}


@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not there to check the format")
def test_terraform_is_formatted():
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", EXAMPLES / "terraform"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_terraform_declares_what_it_uses():
    """`terraform validate` needs the provider of AWS, which has to be downloaded."""
    text = "\n".join(TERRAFORM.values())
    declared = {f"var.{name}" for name in re.findall(r'^variable "(\w+)"', text, re.MULTILINE)}
    declared |= {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE)}
    declared |= {f"data.{kind}.{name}" for kind, name in re.findall(r'^data "(\w+)" "(\w+)"', text, re.MULTILINE)}
    for block in re.findall(r"^locals \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
        declared |= {f"local.{name}" for name in re.findall(r"^  (\w+) +=", block, re.MULTILINE)}
    used = set(re.findall(r"(?<![\w.\"])((?:var|local)\.\w+|data\.aws_\w+\.\w+|aws_\w+\.\w+)", text))
    assert used == declared


def test_the_trust_policy_is_what_the_program_prints():
    command = re.search(r"eks-pod-identity-webhook (trust-policy .*?) > trust.tf", TERRAFORM_README, re.DOTALL)[1]
    arguments = shlex.split(command.replace("\\\n", " "))
    printed = subprocess.run([binary(), *arguments], capture_output=True, text=True, check=True).stdout
    assert TERRAFORM["trust.tf"] == printed
    defaults = dict(re.findall(r'^variable "(\w+)" \{.*?default += "([^"]+)"', TERRAFORM["main.tf"], re.MULTILINE | re.DOTALL))
    assert f"https://{defaults['bucket']}.s3.{defaults['region']}.amazonaws.com" in arguments
