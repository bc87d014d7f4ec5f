"""`controlPlane.enabled`: one pod next to each API server, called on loopback."""

import pytest

from cases import CASES, CONTROL_PLANE, MONITOR
from chart import rendered

SOCKET = "/run/webhook/probe"


@pytest.fixture(params=CONTROL_PLANE)
def out(request):
    return rendered(request.param)


def test_there_is_a_daemonset_and_no_object_of_a_service(out):
    assert len(out.all("DaemonSet")) == 1
    for kind in ("Deployment", "Service", "NetworkPolicy", "PodDisruptionBudget", "HorizontalPodAutoscaler"):
        assert not out.all(kind), kind
    (doctor,) = [hook for hook in out.hooks if hook["kind"] == "Pod"]
    assert "hostNetwork" not in doctor["spec"]


def test_the_other_objects_are_as_behind_a_service():
    without = {"Deployment", "DaemonSet", "Service", "PodDisruptionBudget"}
    kinds = [{(o["kind"], o["metadata"]["name"]) for o in rendered(c).objects} for c in ("defaults", "control-plane")]
    behind, beside = [{o for o in objects if o[0] not in without} for objects in kinds]
    assert behind == beside
    for kind in ("ClusterRole", "Role"):
        assert rendered("defaults").the(kind) == rendered("control-plane").the(kind)


def test_every_entry_calls_loopback(out):
    entries = out.the("MutatingWebhookConfiguration")["webhooks"]
    for entry in entries:
        assert "service" not in entry["clientConfig"]
        assert entry["clientConfig"]["url"] == f"https://{out.flags['listen']}/mutate"
    assert out.flags["listen"].startswith("127.0.0.1:")
    assert len(rendered("control-plane-options").the("MutatingWebhookConfiguration")["webhooks"]) == 2


def test_the_certificate_has_the_address():
    flags = rendered("control-plane").flags
    assert flags["tls-server-name"] == "127.0.0.1"
    (certificate,) = [
        c for c in rendered("control-plane-options").all("Certificate") if not c["spec"].get("isCA")
    ]
    assert certificate["spec"]["ipAddresses"] == ["127.0.0.1"]
    assert "tls-server-name" not in rendered("control-plane-secret").flags
    (entry,) = rendered("control-plane-secret").the("MutatingWebhookConfiguration")["webhooks"]
    assert entry["clientConfig"]["caBundle"]


def test_pods_run_next_to_each_api_server():
    spec = rendered("control-plane").pod["spec"]
    (term,) = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    # kubeadm gives the label an empty value, k3s and RKE2 "true".
    assert term["matchExpressions"] == [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["priorityClassName"] == "system-node-critical"
    assert spec["hostNetwork"] is True and "topologySpreadConstraints" not in spec
    options = rendered("control-plane-options").pod["spec"]
    assert options["affinity"] == CASES["control-plane-options"]["controlPlane"]["affinity"]
    assert options["priorityClassName"] == "ours"
    assert [toleration["key"] for toleration in options["tolerations"]] == ["node-role.kubernetes.io/control-plane"]


def test_a_new_pod_takes_over_before_the_old_one_ends(out):
    strategy = out.the("DaemonSet")["spec"]["updateStrategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert "reuse-port" in out.flags
    assert "ports" not in out.container, "the scheduler would see a conflict"


def test_the_old_pod_cannot_answer_for_the_new_one(out):
    """Both share the admin port. The startup probe asks the container's own process, and until it succeeds the pod is not ready."""
    container = out.container
    assert container["startupProbe"]["exec"]["command"] == [
        "/eks-pod-identity-webhook", "probe", f"--probe-socket={SOCKET}",
    ]  # fmt: skip
    assert out.flags["probe-socket"] == SOCKET
    (mount,) = [m for m in container["volumeMounts"] if m["mountPath"] == "/run/webhook"]
    (volume,) = [v for v in out.pod["spec"]["volumes"] if v["name"] == mount["name"]]
    assert "emptyDir" in volume and "readOnly" not in mount


def test_probes_reach_the_admin_port():
    for case, port in {"control-plane": 18090, "control-plane-options": 9444}.items():
        out = rendered(case)
        for name, path in {"liveness": "/livez", "readiness": "/readyz"}.items():
            probe = out.container[f"{name}Probe"]["httpGet"]
            assert probe == {"path": path, "host": "127.0.0.1", "port": port}
    assert rendered("control-plane").flags["admin-listen"] == "127.0.0.1:18090"
    assert rendered("control-plane-options").flags["admin-listen"] == "[::]:9444"
    assert rendered("control-plane").container["startupProbe"]["failureThreshold"] == 600
    assert rendered("control-plane-options").container["startupProbe"]["failureThreshold"] == 30


def test_a_pod_monitor_needs_no_declared_port():
    (endpoint,) = rendered("control-plane-options").the("PodMonitor")["spec"]["podMetricsEndpoints"]
    assert "port" not in endpoint
    keep, address, *own = endpoint["relabelings"]
    assert keep["action"] == "keep" and keep["regex"] == "webhook"
    assert (address["targetLabel"], address["replacement"]) == ("__address__", "$1:9444")
    assert own == MONITOR["relabelings"]


def test_the_notes():
    notes = rendered("control-plane").notes
    assert "daemonset/eks-pod-identity-webhook" in notes and "127.0.0.1:18443" in notes
