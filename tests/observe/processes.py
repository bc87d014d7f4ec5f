"""What the runs consist of: the webhook, Prometheus, and recorded metrics of other programs."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from expressions import ROOT
from objects import NAMESPACE

BINARY = pathlib.Path(os.environ.get("BINARY", ROOT / "target/debug/eks-pod-identity-webhook"))
DEADLINE = 20
FIXTURES = ROOT / "tests/observe/fixtures"
JOB = {"job": "eks-pod-identity-webhook", "cluster": "test", "namespace": NAMESPACE}


def eventually(what, holds):
    """Waits until something is true, and returns it. Fails after 20 s, which only a hang takes."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if result := holds():
            return result
        time.sleep(0.05)
    raise AssertionError(f"did not happen within {DEADLINE} s: {what}")


class Webhook:
    """The program itself."""

    def __init__(self, folder, name, *flags, binary=BINARY):
        self.name, self.log = name, folder / f"{name}.log"
        command = [binary, "serve", *flags, "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=json"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, env={"PATH": os.environ["PATH"]}, cwd=ROOT)
        try:
            listening = eventually(f"{name} listens", self._listening)
        except AssertionError:
            self.process.kill()
            raise
        self.address, self.admin = listening["listen"], listening["admin_listen"]
        self.tls = ssl._create_unverified_context()
        self.connection = None

    def _listening(self):
        assert self.process.poll() is None, self.log.read_text()
        lines = [line for line in self.log.read_text().splitlines() if '"listening"' in line]
        return json.loads(lines[0]) if lines else None

    def send(self, body, path="/mutate?timeout=10s", method="POST", content_type="application/json"):
        """Sends a request on a connection that is kept alive, and returns the status code."""
        try:
            if self.connection is None:
                self.connection = http.client.HTTPSConnection(self.address, context=self.tls, timeout=DEADLINE)
            self.connection.request(method, path, body, {"Content-Type": content_type})
            response = self.connection.getresponse()
            response.read()
            if response.will_close:
                self.hang_up()
            return response.status
        except (OSError, http.client.HTTPException):
            self.hang_up()
            return None

    def hang_up(self):
        if self.connection is not None:
            with contextlib.suppress(OSError):
                self.connection.close()
        self.connection = None

    def socket(self, tls=True):
        """A connection to write bytes to."""
        host, port = self.address.rsplit(":", 1)
        plain = socket.create_connection((host, int(port)), timeout=DEADLINE)
        return self.tls.wrap_socket(plain) if tls else plain

    def get(self, path, **headers):
        """A GET on the admin port: status, headers and body."""
        request = urllib.request.Request(f"http://{self.admin}{path}", headers={k.replace("_", "-"): v for k, v in headers.items()})
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                return response.status, response.headers, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def metrics(self):
        return self.get("/metrics")[2].decode()

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        self.hang_up()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Replayed:
    """Serves a recorded exposition. Each scrape finds everything counted once more, so that counters grow; with `grows=False`,
    the recorded values."""

    def __init__(self, path, grows=True):
        text = path.read_text()

        class Handler(BaseHTTPRequestHandler):
            scrapes = 0

            def do_GET(self):
                Handler.scrapes = Handler.scrapes + 1 if grows else 1
                body = re.sub(r"(?m)^([^#].*) ([0-9.e+-]+)$", lambda line: f"{line[1]} {float(line[2]) * Handler.scrapes}", text).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = "127.0.0.1:%d" % self.server.server_address[1]


class Prometheus:
    """A real Prometheus."""

    def __init__(self, folder, scrape_configs, rules=ROOT / "deploy/prometheus/rules.yaml"):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % free.getsockname()[1]
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                  "rule_files": [str(rules)], "scrape_configs": scrape_configs}
        (folder / "prometheus.yaml").write_text(json.dumps(config))
        command = ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/tsdb",
                   f"--web.listen-address={self.address}", "--log.level=warn"]
        self.log = folder / "prometheus.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self.started = self.ended = None
        targets = sum(len(group["targets"]) for config in scrape_configs for group in config.get("static_configs", []))
        try:
            eventually("Prometheus is ready", self._is_ready)
            eventually("everything is scraped", lambda: len(self.api("query", query="up == 1")["result"]) >= targets)
        except AssertionError:
            self.stop()
            raise
        self.started = time.time()

    def _is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            return urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=DEADLINE).status == 200
        except OSError:
            return False

    def api(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=DEADLINE) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def over_the_run(self, expression):
        """What an expression was, second by second: labels and (time, value) of each series, without NaN and Inf."""
        data = self.api("query_range", query=expression, start=self.started, end=self.ended or time.time(), step=1)
        found = []
        for series in data["result"]:
            values = [(float(at), float(value)) for at, value in series["values"] if value not in ("NaN", "+Inf", "-Inf")]
            if values:
                found.append((series["metric"], values))
        return found

    def at_the_end(self, expression):
        """What an expression is at the end of the run: labels and value of each series, without NaN and Inf."""
        data = self.api("query", query=expression, time=self.ended)
        return [(each["metric"], float(each["value"][1])) for each in data["result"] if each["value"][1] not in ("NaN", "+Inf", "-Inf")]

    def stop(self):
        self.process.terminate()
        self.process.wait()


def scrape(name, labels, *addresses):
    return {"job_name": name, "static_configs": [{"targets": list(addresses), "labels": labels}]}


def relabelled(version):
    """Sets the version at the scrape: two revisions of one release report the same version."""
    return {"metric_relabel_configs": [{"source_labels": ["__name__"], "regex": "pod_identity_webhook_build_info", "target_label": "version", "replacement": version}]}


def kubeconfig_of(url):
    return {"apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}}],
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {"token": "secret-token"}}]}
