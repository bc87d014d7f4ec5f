"""A run of 75 s that causes every event with a metric."""

import json
import re
import shutil
import subprocess
import threading
import time

from api_server import ApiServer
from expressions import ROOT
from objects import CONFIG_MAP, CONFIGURATION, SECRET
from processes import FIXTURES, JOB, Prometheus, Replayed, Webhook, kubeconfig_of, relabelled, scrape
from reviews import NAMESPACES, REVIEWS, ROLE, minimal

# Longer than the minute by which the upgrade dashboard's annotations look back.
SECONDS = 75
# How the dashboards' variables are set to look at this run.
VARIABLES = {"range": f"{SECONDS}s", "baseline": "0.1.0", "candidate": "0.2.0", "before": "10s", "window": "20s"}
UNFINISHED = b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"


def skipped():
    review = json.loads(REVIEWS["minimal"])
    review["request"]["object"]["metadata"]["labels"] = {"eks.amazonaws.com/skip-pod-identity-webhook": "true"}
    return json.dumps(review).encode()


def no_container():
    return REVIEWS["minimal"].replace(b'"metadata":{"name"', b'"metadata":{"annotations":{"eks.amazonaws.com/skip-containers":"app"},"name"')


class Everything:
    """The processes, and the timetable of events."""

    variables = VARIABLES

    def __init__(self, folder):
        self.folder = folder
        self.manifests, self.certificates, self.recordings = folder / "accounts.yaml", folder / "certs", folder / "recordings"
        self.api, self.webhooks, self.leaving, self.prometheus = ApiServer(), [], None, None

    def start(self):
        folder = self.folder
        self.certificates.mkdir()
        self.identities = folder / "identities.json"
        self.write_identities()
        self.new_certificate()
        self.write_manifests()
        limits = ["--lookup-grace=300ms", "--header-timeout=1s", "--body-timeout=5s", "--tls-handshake-timeout=1s",
                  "--max-body-bytes=262144", "--max-request-memory=163840", "--reload-interval=200ms", "--drain-delay=2s"]
        manifests = [f"--service-accounts={self.manifests}"]
        files = [f"--tls-cert-file={self.certificates}/tls.crt", f"--tls-key-file={self.certificates}/tls.key"]
        self.api.list_status = self.api.objects.statuses[CONFIG_MAP] = 403
        self.map_roles()
        for namespace in NAMESPACES:
            for name in ["api", "plain", "default"]:
                self.api.apply(namespace, name, ROLE if name == "api" else {})
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(json.dumps(kubeconfig_of(self.api.url)))
        asked_for = ["--metrics-namespaces=3", "--debug-endpoints", f"--watch-container-credentials-config={self.identities}", f"--record={self.recordings}", "--record-max-files=100000"]
        # Two replicas of the old version: one with every option, and one that will be drained.
        self.old = self.webhook("old", *limits, *manifests, *files, *asked_for)
        self.drained = self.webhook("drained", *limits, *manifests, "--tls-self-signed")
        # One that the scrape calls newer. It watches a cluster and manages its own certificate.
        kept = ["--tls-self-managed", "--tls-ca-validity=60s", "--tls-leaf-validity=20s", "--tls-rotation-overlap=2s"]
        self.new = self.webhook("new", *limits, f"--kubeconfig={kubeconfig}", *kept, "--metrics-namespaces=3", "--watch-config-map")
        apiserver = Replayed(FIXTURES / "kube-apiserver.prom")
        self.prometheus = Prometheus(folder, [
            scrape("old", JOB, self.old.admin, self.drained.admin),
            scrape("new", JOB, self.new.admin) | relabelled("0.2.0"),
            scrape("kube-apiserver", {"cluster": "test"}, apiserver.address),
        ], self.impatient_rules())

    def impatient_rules(self):
        """The rules, with alerts that fire after 2 s, so that they fire during the run."""
        path = self.folder / "rules.yaml"
        path.write_text(re.sub(r"(?m)^( +for:) .+$", r"\1 2s", (ROOT / "deploy/prometheus/rules.yaml").read_text()))
        return path

    def webhook(self, name, *flags):
        self.webhooks.append(Webhook(self.folder, name, *flags))
        return self.webhooks[-1]

    def new_certificate(self):
        """A certificate that expires so soon that its alerts fire."""
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
                        "-keyout", "tls.key", "-out", "tls.crt"], cwd=self.certificates, check=True, capture_output=True)

    def write_identities(self):
        self.identities.write_text('{"identities": [{"namespace": "payments", "serviceAccount": "agent"}]}')

    def map_roles(self, *malformed):
        role = {"RoleARN": ROLE["eks.amazonaws.com/role-arn"]}
        self.api.objects.put_config_map(json.dumps({"orders/*": role} | dict.fromkeys(malformed, role)))

    def write_manifests(self, *more):
        accounts = [("api", ROLE), ("plain", {}), ("default", {}), ("agent", {}), ("typo", {"eks.amazonaws.com/role-arn": "payments-api"}), *more]
        items = [{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name, "annotations": annotations}}
                 for namespace in NAMESPACES for name, annotations in accounts]
        self.manifests.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))

    def happen(self):
        """Runs the timetable, then waits for two more scrapes."""
        for webhook in self.webhooks:
            threading.Thread(target=self.come_slowly, args=[webhook], daemon=True).start()
        events = sorted(self.events(), key=lambda event: event[0])
        begun = time.monotonic()
        tick = 0
        while (elapsed := time.monotonic() - begun) < SECONDS:
            while events and events[0][0] <= elapsed:
                events.pop(0)[1]()
            for webhook in self.webhooks:
                if webhook.process.poll() is None:
                    self.ask(webhook, tick)
            tick += 1
            time.sleep(max(0, begun + tick * 0.25 - time.monotonic()))
        time.sleep(2)
        self.prometheus.ended = time.time()

    def events(self):
        certificate, manifests = self.certificates / "tls.key", self.manifests
        return [
            (2, lambda: self.api.objects.statuses.update({CONFIG_MAP: 200})),
            (4, lambda: setattr(self.api, "list_status", 200)),
            (12, lambda: self.api.objects.put_config_map("[]")),
            (18, lambda: self.map_roles("no namespace")),
            (28, self.map_roles),
            (16, lambda: self.identities.write_text("{")),
            (26, self.write_identities),
            (6, self.new_certificate),
            (8, lambda: manifests.write_text("kind: [")),
            (14, self.write_manifests),
            (10, lambda: self.api.expire()),
            (16, lambda: self.api.send_garbage()),
            (20, lambda: setattr(self.api, "next_watch_status", 500) or self.api.end()),
            (24, lambda: certificate.write_text("cut off")),
            (34, self.new_certificate),
            (30, lambda: self.api.apply("payments", "brief", {})),
            (32, lambda: self.api.delete("payments", "brief")),
            (20, lambda: shutil.rmtree(self.recordings)),
            (12, lambda: self.api.objects.refusals[SECRET].append(500)),
            (15, lambda: self.api.objects.refusals[CONFIGURATION].append(500)),
            *[(16 + 2 * number, self.api.objects.wipe_ca_bundle) for number in range(9)],
            (64, self.drain),
        ]

    def ask(self, webhook, tick):
        """Sends what a kube-apiserver sends, and now and then what it would not."""
        names = list(REVIEWS)
        for offset in range(4):
            webhook.send(REVIEWS[names[(tick * 4 + offset) % len(names)]])
        for namespace in NAMESPACES[1 : 2 + tick % 3]:
            webhook.send(minimal(namespace=namespace))
        # Accounts change all the time on a live cluster.
        self.api.apply("payments", "busy", {"changed": str(tick)})
        if tick % 8 == 0:
            webhook.send(minimal("typo"))
            webhook.send(skipped())
            webhook.send(no_container())
            if webhook is self.old:
                webhook.send(minimal("agent"))
        if tick % 20 == 5 and webhook is not self.leaving:
            self.ask_oddly(webhook, tick)

    def ask_oddly(self, webhook, tick):
        webhook.send(minimal("nobody"))
        webhook.send(b"{}")
        webhook.send(b"x" * 300_000)
        webhook.send(b"x" * 250_000)
        webhook.send(b"{}", content_type="text/plain")
        webhook.send(b"{}", method="PUT")
        webhook.send(b"{}", path="/elsewhere")
        # The account arrives while its pod waits.
        late = f"late-{webhook.name}-{tick}"
        threading.Timer(0.1, self.api.apply, ["payments", late, ROLE]).start()
        webhook.send(minimal(late))
        # The client disconnects while its request waits for the account.
        with webhook.socket() as caller:
            body = minimal("nobody")
            caller.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            time.sleep(0.1)
        with webhook.socket() as scanner:
            scanner.sendall(b"no HTTP\r\n\r\n")
            scanner.recv(1)
        for _ in range(8):
            with webhook.socket(tls=False) as scanner:
                scanner.sendall(b"no TLS\r\n\r\n")
                scanner.recv(1)

    def drain(self):
        """Terminates a replica that has an idle and a slow connection, so that its last scrapes count both."""
        self.leaving = self.drained
        self.kept_open = [self.drained.socket(), self.drained.socket()]
        self.drained.terminate()
        self.kept_open[1].sendall(UNFINISHED)

    def come_slowly(self, webhook):
        with webhook.socket(tls=False) as scanner, webhook.socket() as header, webhook.socket() as body:
            header.sendall(b"POST /mut")
            body.sendall(UNFINISHED)
            for slow in (scanner, header, body):
                try:
                    slow.recv(4096)
                except OSError:
                    pass

    def stop(self):
        for webhook in self.webhooks:
            webhook.stop()
        if self.prometheus:
            self.prometheus.stop()
