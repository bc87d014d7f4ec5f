"""The chart, rendered by Helm's own library, and where things are."""

import functools
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import helm_python
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/eks-pod-identity-webhook"
NAME = "eks-pod-identity-webhook"
NAMESPACE = "aws-pod-identity-webhook"
HOOK = "helm.sh/hook"


@dataclass(frozen=True)
class Rendered:
    """What an installation would create."""

    text: str
    notes: str
    # What `helm install` applies, and what only `helm test` does.
    objects: list
    hooks: list

    def all(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def the(self, kind):
        (one,) = self.all(kind)
        return one

    def named(self, kind, suffix):
        (one,) = [o for o in self.all(kind) if o["metadata"]["name"].endswith(suffix)]
        return one

    @property
    def workload(self):
        (one,) = self.all("Deployment") + self.all("DaemonSet")
        return one

    @property
    def full_name(self):
        return self.workload["metadata"]["name"]

    @property
    def namespace(self):
        return self.workload["metadata"]["namespace"]

    @property
    def pod(self):
        return self.workload["spec"]["template"]

    @property
    def container(self):
        return next(c for c in self.pod["spec"]["containers"] if c["name"] == "webhook")

    @property
    def flags(self):
        """The arguments by flag; None where there is no value."""
        args = [arg.removeprefix("--").partition("=") for arg in self.container["args"][1:]]
        return {flag: value if equals else None for flag, equals, value in args}


def render(values=None, name=NAME, namespace=NAMESPACE, chart=CHART):
    """Raises helm_python.HelmError where Helm would refuse to install."""
    with helm_python.Chart.load(chart) as loaded:
        files = loaded.render(values or {}, name=name, namespace=namespace)
    notes = files.pop(f"{NAME}/templates/NOTES.txt")
    text = "---\n".join(text.strip() + "\n" for path, text in sorted(files.items()) if text.strip())
    objects = [o for o in yaml.safe_load_all(text) if o]
    hooks = [o for o in objects if HOOK in o["metadata"].get("annotations", {})]
    return Rendered(text, notes, [o for o in objects if o not in hooks], hooks)


@functools.cache
def rendered(case):
    """The render of a case, by its name. Not to be changed."""
    from cases import CASES

    return render(CASES[case])


@functools.cache
def default_values():
    return yaml.safe_load((CHART / "values.yaml").read_text())


@functools.cache
def schema():
    return json.loads((CHART / "values.schema.json").read_text())


def flag(key):
    """awsRegion as --aws-region, without the dashes."""
    return re.sub("[A-Z]", lambda capital: "-" + capital[0].lower(), key)


def binary():
    """The program, as `cargo build` or `cargo test` left it; WEBHOOK_BINARY names another."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    path = Path(os.environ.get("WEBHOOK_BINARY", target / "debug" / NAME))
    assert path.exists(), f"{path} is missing: run `cargo build`, or set WEBHOOK_BINARY"
    return path


@functools.cache
def serve_flags():
    """The flags of `serve`, with their defaults."""
    listing = subprocess.run([binary(), "serve", "--help"], capture_output=True, text=True, check=True).stdout
    _, *blocks = re.split(r"^\s+(?:-\w, )?--(?=[a-z])", listing, flags=re.MULTILINE)
    defaults = {}
    for block in blocks:
        default = re.search(r"\[default: (.*)\]", block)
        defaults[re.match("[a-z0-9-]+", block)[0]] = default and default[1]
    del defaults["help"]
    return defaults
