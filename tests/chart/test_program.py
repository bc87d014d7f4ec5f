"""Started as the chart renders it, the program becomes ready at the probes' paths and answers at the webhook's."""

import json
import os
import signal
import socket
import ssl
import subprocess
import time
import urllib.request

import pytest

from chart import ROOT, binary, render

# Without a cluster: accounts from a file, and a self-signed certificate instead of a mounted Secret.
VALUES = {
    "listenAddress": "127.0.0.1",
    "tls": {"mode": "secret", "secret": {"name": "unused"}},
    "config": {"drainDelay": "1ms", "serviceAccounts": str(ROOT / "deploy/examples/service-accounts.yaml")},
    "env": {"AWS_REGION": "us-west-2", "TLS_SELF_SIGNED": "true"},
}


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture
def running():
    webhook, admin = free_ports(2)
    out = render(VALUES | {"containerPort": webhook, "adminPort": admin})
    env = {"PATH": os.environ["PATH"]} | {e["name"]: e["value"] for e in out.container["env"]}
    with subprocess.Popen([binary(), *out.container["args"]], env=env, stderr=subprocess.DEVNULL) as process:
        try:
            yield out, process
        finally:
            process.kill()


def url(out, scheme, port, path):
    ports = {p["name"]: p["containerPort"] for p in out.container["ports"]}
    return f"{scheme}://127.0.0.1:{ports[port]}{path}"


def probe(out, name):
    """Whether the kubelet's probe would succeed."""
    get = out.container[name]["httpGet"]
    try:
        with urllib.request.urlopen(url(out, "http", get["port"], get["path"]), timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def test_becomes_ready_answers_and_exits(running):
    out, process = running
    deadline = time.monotonic() + 20
    while not probe(out, "readinessProbe"):
        assert process.poll() is None, "it exited"
        assert time.monotonic() < deadline, "it is not ready"
        time.sleep(0.05)
    assert probe(out, "livenessProbe")

    (entry,) = out.the("MutatingWebhookConfiguration")["webhooks"]
    (port,) = [p for p in out.the("Service")["spec"]["ports"] if p["port"] == entry["clientConfig"]["service"]["port"]]
    request = urllib.request.Request(
        url(out, "https", port["targetPort"], f"{entry['clientConfig']['service']['path']}?timeout=5s"),
        data=(ROOT / "deploy/examples/admission-review.json").read_bytes(),
        headers={"Content-Type": "application/json"},
    )
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(request, timeout=5, context=trusting) as response:
        answer = json.load(response)["response"]
    assert answer["auditAnnotations"]["outcome"] == "injected"

    process.send_signal(signal.SIGTERM)
    assert process.wait(out.pod["spec"]["terminationGracePeriodSeconds"]) == 0
