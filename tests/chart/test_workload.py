"""The Deployment agrees with the objects around it, and with the program."""

import os
import subprocess

import helm_python
import pytest

from cases import CASES, CONTROL_PLANE, WEBHOOK
from chart import ROOT, binary, default_values, flag, render, rendered, serve_flags
from generated import documented

SELF_MANAGED = {
    "tls-self-managed", "tls-secret-name", "tls-service-name", "webhook-configuration-name", "namespace",
    "tls-cluster-domain", "tls-server-name", "tls-ca-validity", "tls-leaf-validity", "tls-rotation-overlap",
}  # fmt: skip

# Flags that are not in `config`: the chart sets them, mounts the certificate at their default path, or they are for trials.
SET_BY_THE_CHART = {"listen", "admin-listen", "reuse-port", "probe-socket", "role-policy"} | SELF_MANAGED
NOT_FOR_THE_CHART = {"tls-cert-file", "tls-key-file", "tls-self-signed", "tls-san", "kube-api"}


@pytest.mark.parametrize("case", WEBHOOK + CONTROL_PLANE)
def test_every_flag_exists(case):
    assert set(rendered(case).flags) <= serve_flags().keys()


def test_config_has_every_setting():
    config = {flag(key) for key in default_values()["config"]}
    assert config == serve_flags().keys() - SET_BY_THE_CHART - NOT_FOR_THE_CHART


def test_documented_defaults_are_those_of_the_program():
    for key in default_values()["config"]:
        default = serve_flags()[flag(key)]
        if default is not None:
            assert f"(default `{default}`)" in documented()[f"config.{key}"], key


@pytest.mark.parametrize("case", WEBHOOK + CONTROL_PLANE)
def test_the_program_accepts_the_arguments_and_environment(case):
    """It gets as far as finding no cluster, certificate or file here; a mistyped flag or value is exit code 2."""
    out = rendered(case)
    args = out.container["args"]
    env = {e["name"]: e["value"] for e in out.container.get("env", []) if "value" in e}
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"} | env
    done = subprocess.run([binary(), *args], env=env, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1, done.stderr


def test_settings_are_flags():
    flags = rendered("every-setting").flags
    for key, value in CASES["every-setting"]["config"].items():
        (value,) = value if isinstance(value, list) else [value]
        assert flags[flag(key)] == ("true" if value is True else str(value))
    assert rendered("defaults").flags.keys() == {
        "listen", "admin-listen", "tls-self-managed", "tls-secret-name", "tls-service-name",
        "webhook-configuration-name", "namespace",
    }  # fmt: skip


def test_env_and_extras_reach_the_container():
    container = rendered("env").container
    assert container["env"] == [
        {"name": "AWS_REGION", "value": "us-west-2"},
        {"name": "DRAIN_DELAY", "value": "10s"},
        {"name": "MAX_BODY_BYTES", "value": "16777216"},
        {"name": "STS_REGIONAL_ENDPOINTS", "value": "true"},
        {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
    ]
    extras = rendered("extras")
    assert extras.container["args"][-1] == "--log-level=debug"
    assert extras.container["volumeMounts"] == [{"name": "record", "mountPath": "/record"}]
    assert [volume["name"] for volume in rendered("extras-with-files").pod["spec"]["volumes"]] == [
        "certificate",
        "authorities",
    ]


def test_the_install_command_of_the_documentation():
    assert "--set config.awsRegion=us-west-2" in (ROOT / "README.md").read_text()
    out = render(helm_python.parse_set_string("config.awsRegion=us-west-2"))
    assert out.flags["aws-region"] == "us-west-2"


def test_the_region_as_a_variable():
    out = render(helm_python.parse_set_string("env.AWS_REGION=us-west-2"))
    assert out.container["env"] == [{"name": "AWS_REGION", "value": "us-west-2"}]
    assert "aws-region" not in out.flags, "a flag would win"


def test_ports_agree(webhook):
    ports = {port["name"]: port["containerPort"] for port in webhook.container["ports"]}
    assert webhook.flags["listen"].rpartition(":")[2] == str(ports["webhook"])
    assert webhook.flags["admin-listen"].rpartition(":")[2] == str(ports["admin"])

    service = {port["name"]: port for port in webhook.the("Service")["spec"]["ports"]}
    assert {name: port["targetPort"] for name, port in service.items()} == {"webhook": "webhook", "admin": "admin"}
    assert service["admin"]["port"] == ports["admin"]
    for entry in webhook.the("MutatingWebhookConfiguration")["webhooks"]:
        assert entry["clientConfig"]["service"] == {
            "name": webhook.the("Service")["metadata"]["name"],
            "namespace": webhook.namespace,
            "path": "/mutate",
            "port": service["webhook"]["port"],
        }

    probes = [webhook.container[f"{name}Probe"]["httpGet"] for name in ("liveness", "readiness")]
    assert probes == [{"path": "/livez", "port": "admin"}, {"path": "/readyz", "port": "admin"}]
    for policy in webhook.all("NetworkPolicy"):
        assert [rule["ports"] for rule in policy["spec"]["ingress"]] == [
            [{"port": "webhook", "protocol": "TCP"}],
            [{"port": "admin", "protocol": "TCP"}],
        ]
    for monitor in webhook.all("ServiceMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= service.keys()
    for monitor in webhook.all("PodMonitor"):
        assert {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]} <= ports.keys()


def test_chosen_ports():
    assert rendered("private-gke").flags["listen"] == "[::]:10250"
    assert rendered("without-ipv6").flags["listen"] == "0.0.0.0:8443"
    host = rendered("host-network")
    assert host.flags["admin-listen"] == "[::]:9091"
    assert host.pod["spec"]["hostNetwork"] is True
    assert host.pod["spec"]["dnsPolicy"] == "ClusterFirstWithHostNet"
    assert rendered("host-network-dns").pod["spec"]["dnsPolicy"] == "Default"
    assert "dnsPolicy" not in rendered("defaults").pod["spec"]


def test_selectors_select_the_pods(webhook):
    labels = webhook.pod["metadata"]["labels"]
    selectors = [
        webhook.the("Deployment")["spec"]["selector"]["matchLabels"],
        webhook.the("Service")["spec"]["selector"],
        *(o["spec"]["selector"]["matchLabels"] for o in webhook.all("PodDisruptionBudget") + webhook.all("PodMonitor")),
        *(o["spec"]["podSelector"]["matchLabels"] for o in webhook.all("NetworkPolicy")),
    ]
    assert all(selector == selectors[0] and selector.items() <= labels.items() for selector in selectors)
    for monitor in webhook.all("ServiceMonitor"):
        assert (
            monitor["spec"]["selector"]["matchLabels"].items() <= webhook.the("Service")["metadata"]["labels"].items()
        )


def test_the_grace_period_covers_the_drain():
    def grace(case):
        return rendered(case).pod["spec"]["terminationGracePeriodSeconds"]

    assert grace("defaults") == 5 + 20 + 5
    assert grace("every-setting") == 2 + 60 + 5
    assert grace("env") == 10 + 20 + 5
    assert grace("scheduling") == 60
    assert "lifecycle" not in rendered("defaults").container


def test_the_pod_is_restricted():
    """Pod Security `restricted`, and a read-only root. There is no user: OpenShift chooses one, otherwise it is the image's."""
    out = rendered("defaults")
    assert out.pod["spec"]["securityContext"] == {
        "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    assert out.container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert out.pod["spec"]["priorityClassName"] == "system-cluster-critical"


def test_memory_is_limited_and_cpu_is_not():
    resources = rendered("defaults").container["resources"]
    assert resources["limits"].keys() == {"memory"}
    assert resources["requests"].keys() == {"cpu", "memory"}


def test_drains_and_updates_do_not_block():
    """With any number of replicas, neither a node drain nor an update waits forever."""
    for case in ("defaults", "one-replica", "host-network"):
        budget = rendered(case).the("PodDisruptionBudget")["spec"]
        assert budget["maxUnavailable"] == 1 and "minAvailable" not in budget
        assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow"
        for constraint in rendered(case).pod["spec"]["topologySpreadConstraints"]:
            assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"

    def update(case):
        return rendered(case).the("Deployment")["spec"]["strategy"]["rollingUpdate"]

    assert update("defaults") == {"maxSurge": 1, "maxUnavailable": 0}
    assert update("host-network") == {"maxSurge": 0, "maxUnavailable": 1}, "two pods can't have one port of a node"


def test_replicas_are_spread_over_nodes_and_zones():
    labels = rendered("defaults").pod["metadata"]["labels"]
    constraints = rendered("defaults").pod["spec"]["topologySpreadConstraints"]
    assert [c["topologyKey"] for c in constraints] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(c["labelSelector"]["matchLabels"] == labels for c in constraints)
    (own,) = rendered("scheduling").pod["spec"]["topologySpreadConstraints"]
    assert own["labelSelector"] == {"matchLabels": {"app": "all"}}


def test_the_quota_of_gke_is_created_on_request():
    out = rendered("gke-quota")
    spec = out.the("ResourceQuota")["spec"]
    assert spec["scopeSelector"]["matchExpressions"][0]["values"] == [out.pod["spec"]["priorityClassName"]]
    assert spec["hard"] == {"pods": "10"}
    assert not rendered("defaults").all("ResourceQuota")
    assert not render({"resourceQuota": {"enabled": True}, "priorityClassName": "ours"}).all("ResourceQuota")
    for elsewhere in ({"namespace": "kube-system"}, {"values": {"namespaceOverride": "kube-system"}}):
        values = elsewhere.get("values", {}) | {"resourceQuota": {"enabled": True}}
        assert not render(**elsewhere | {"values": values}).all("ResourceQuota")


def test_network_policy():
    open_, closed = rendered("private-gke"), rendered("network-policy-egress")
    assert open_.the("NetworkPolicy")["spec"]["policyTypes"] == ["Ingress"]
    assert "from" not in open_.the("NetworkPolicy")["spec"]["ingress"][1]
    spec = closed.the("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "from" not in spec["ingress"][0] and spec["ingress"][1]["from"]
    api_server, dns = spec["egress"]
    assert api_server["to"] == [{"ipBlock": {"cidr": "10.0.0.1/32"}}]
    assert [p["port"] for p in api_server["ports"]] == [8443] and [p["port"] for p in dns["ports"]] == [53, 53]
    assert len(rendered("network-policy-egress-anywhere").the("NetworkPolicy")["spec"]["egress"]) == 1
