"""A healthy cluster in which a rollout replaces two replicas of the baseline by two of the candidate.

The candidate is the program as it is built. The baseline is the program that `BASELINE` names, if it does: two real versions. Otherwise
both are the same program, and differ only in the label that the scrape sets.
"""

import json
import os
import threading
import time

from api_server import ApiServer
from processes import BINARY, FIXTURES, JOB, Prometheus, Replayed, Webhook, eventually, kubeconfig_of, relabelled, scrape
from reviews import NAMESPACES, REVIEWS, ROLE, minimal

SECONDS, WARM_UP, BEGINS, EACH = 75, 8, 26, 3
BASELINE = os.environ.get("BASELINE") or BINARY
VERSIONS = os.environ.get("VERSIONS", "baseline,candidate").split(",")
# At the end: the last 25 s, over 25 s before the rollout began.
VARIABLES = {"range": f"{SECONDS - WARM_UP}s", "baseline": VERSIONS[0], "candidate": VERSIONS[1], "before": "45s", "window": "25s"}
FLAGS = ["--tls-self-managed", "--metrics-namespaces=10", "--drain-delay=2s"]
PAUSE = 0.012


class Rollout:
    """The processes, the requests, and the rollout."""

    variables = VARIABLES

    def __init__(self, folder):
        self.folder, self.api = folder, ApiServer()
        self.webhooks, self.serving, self.prometheus = [], [], None

    def start(self):
        for namespace in NAMESPACES:
            for number in range(40):
                self.api.apply(namespace, f"job-{number}", {})
            for name in ["api", "plain", "default"]:
                self.api.apply(namespace, name, ROLE if name == "api" else {})
        (self.folder / "kubeconfig").write_text(json.dumps(kubeconfig_of(self.api.url)))
        self.serving = [self.webhook("baseline-1", BASELINE), self.webhook("baseline-2", BASELINE)]
        self.discover()
        apiserver = Replayed(FIXTURES / "kube-apiserver-healthy.prom")
        state = Replayed(FIXTURES / "kube-state-metrics.prom", grows=False)
        self.prometheus = Prometheus(self.folder, [
            self.discovered(0), self.discovered(1),
            scrape("kube-apiserver", {"cluster": "test"}, apiserver.address),
            scrape("kube-state-metrics", {"cluster": "test"}, state.address),
        ])
        eventually("both replicas are scraped", lambda: len(self.prometheus.api("query", query="pod_identity_webhook_ready == 1")["result"]) == 2)

    def webhook(self, name, binary):
        """A replica that is ready."""
        flags = [f"--kubeconfig={self.folder}/kubeconfig", *FLAGS]
        self.webhooks.append(Webhook(self.folder, name, *flags, binary=binary))
        eventually(f"{name} is ready", lambda: self.webhooks[-1].get("/readyz")[0] == 200)
        return self.webhooks[-1]

    def discovered(self, index):
        return {"job_name": VERSIONS[index], "file_sd_configs": [{"files": [str(self.targets(index))]}]} | relabelled(VERSIONS[index])

    def targets(self, index):
        return self.folder / f"{['baseline', 'candidate'][index]}.json"

    def discover(self):
        """Has Prometheus scrape the replicas that run."""
        for index in (0, 1):
            role = ["baseline", "candidate"][index]
            found = [webhook.admin for webhook in self.webhooks if webhook.name.startswith(role) and webhook.process.poll() is None]
            partial = self.targets(index).with_suffix(".tmp")
            partial.write_text(json.dumps([{"targets": found, "labels": JOB}]))
            partial.rename(self.targets(index))

    def happen(self):
        ends = time.monotonic() + SECONDS
        senders = [threading.Thread(target=self.send, args=[slot, ends]) for slot in (0, 1)]
        for sender in senders:
            sender.start()
        time.sleep(WARM_UP)
        self.prometheus.started = time.time()
        time.sleep(BEGINS)
        for slot in (0, 1):
            self.replace(slot)
            time.sleep(EACH)
        for sender in senders:
            sender.join()
        self.prometheus.ended = time.time()

    def replace(self, slot):
        """Starts a replica of the candidate, sends it the requests of one of the baseline, and ends that one."""
        old = self.serving[slot]
        new = self.webhook(f"candidate-{slot + 1}", BINARY)
        self.discover()
        query = f'pod_identity_webhook_ready{{instance="{new.admin}"}} == 1'
        eventually("the new replica is scraped", lambda: self.prometheus.api("query", query=query)["result"])
        self.serving[slot] = new
        old.terminate()
        old.process.wait()
        self.discover()

    def send(self, slot, ends):
        """Sends a replica requests as an API server does, on one connection, until the end."""
        bodies = [minimal(namespace=namespace) for namespace in NAMESPACES] * 2 + [minimal("plain", NAMESPACES[slot]), REVIEWS["deployment-web"], REVIEWS["mesh-sidecar"]]
        count = 0
        while time.monotonic() < ends:
            self.serving[slot].send(bodies[count % len(bodies)])
            count += 1
            if slot == 0 and count % 50 == 0:
                self.api.apply("payments", "busy", {"changed": str(count)})
            time.sleep(PAUSE)

    def stop(self):
        for webhook in self.webhooks:
            webhook.stop()
        if self.prometheus:
            self.prometheus.stop()
