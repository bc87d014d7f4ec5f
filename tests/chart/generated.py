"""Files that are generated from the chart, and its copies of other files. `deploy/check --update` writes them; the tests
compare them."""

import json
import re
import tomllib

from cases import CASES
from chart import CHART, HOOK, NAME, ROOT, default_values, render

VARIANTS = {
    "self-managed": {},
    "cert-manager": {"tls": {"mode": "certManager"}},
    "existing-secret": {"tls": {"mode": "secret", "secret": {"name": f"{NAME}-cert"}}},
}

HEAD = "# Rendered from the Helm chart by `deploy/check --update`.\n"

# What the components of kustomize add: files, with the values and the kinds that they hold.
COMPONENTS = {
    "monitoring/monitoring.yaml": (
        {"serviceMonitor": {"enabled": True}, "prometheusRule": {"enabled": True}},
        ["ServiceMonitor", "PrometheusRule"],
    ),
    "control-plane/daemonset.yaml": ({"controlPlane": {"enabled": True}}, ["DaemonSet"]),
    "gke-quota/quota.yaml": ({"resourceQuota": {"enabled": True}}, ["ResourceQuota"]),
    "role-policy/policy.yaml": (
        {"rolePolicy": {"enabled": True}, "annotationPolicy": {"action": "Off"}},
        ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"],
    ),
}

LAST = ["MutatingWebhookConfiguration", "Deployment", "DaemonSet"]

# These two labels say that Helm manages the object, which is not the case here.
HELM_LABELS = re.compile(r"^ +(app\.kubernetes\.io/managed-by: Helm|helm\.sh/chart: .*)\n", re.MULTILINE)


def generated():
    """Every generated file, with its text."""
    readme, definition = CHART / "README.md", CHART / "Chart.yaml"
    own = {readme: with_table(readme.read_text()), definition: with_publication(definition.read_text())}
    return own | plain_manifests() | plain_policy() | for_tests() | copies()


def with_publication(definition):
    """Chart.yaml with what Cargo.toml says of the version, and of who publishes the project where."""
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    home, image = package["repository"], package["metadata"]["publication"]["image"]
    maintainers = ", ".join(f"{{name: {author}}}" for author in package["authors"])
    values = {
        "appVersion": package["version"],
        "home": home,
        "sources": f"[{home}]",
        "maintainers": f"[{maintainers}]",
        " +image": f"{image}:{package['version']}",
    }
    for key, value in values.items():
        definition, count = re.subn(rf"^({key}:) .*$", rf"\1 {value}", definition, flags=re.MULTILINE)
        assert count == 1, f"Chart.yaml has {count} lines {key}"
    return definition


def plain_manifests():
    folder = ROOT / "deploy/kubernetes"
    namespace = (folder / "namespace.yaml").read_text()
    variants = {
        folder / variant / "webhook.yaml": HEAD + namespace + "---\n" + plain(values)
        for variant, values in VARIANTS.items()
    }
    components = {
        folder / "components" / file: HEAD + plain(values, kinds) for file, (values, kinds) in COMPONENTS.items()
    }
    return variants | components


def plain_policy():
    return {ROOT / "deploy/policy/policy.yaml": HEAD + plain({"mode": "policy"})}


def for_tests():
    """Further renders that `tests/suite` and `tests/e2e` apply. They have no Helm."""
    require = {"requirePodIdentity": {"enabled": True, "validatingPolicy": True}}
    rendered = {
        # The region as an environment variable.
        "install": (ROOT / "deploy/kubernetes/namespace.yaml").read_text()
        + "---\n"
        + plain({"env": {"AWS_REGION": "us-west-2"}}),
        "config-map": (ROOT / "deploy/kubernetes/namespace.yaml").read_text()
        + "---\n"
        + plain({"config": {"watchConfigMap": True}}),
        # What the program does by itself: the policies would refuse accounts of the tests.
        "role-policy-mappings": (ROOT / "deploy/kubernetes/namespace.yaml").read_text()
        + "---\n"
        + plain(CASES["role-policy-mappings"], without=["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]),
        # Pods on the node's network are not `restricted`.
        "control-plane": (ROOT / "deploy/kubernetes/namespace.yaml").read_text().replace("restricted", "privileged")
        + "---\n"
        + plain({"controlPlane": {"enabled": True}, "requirePodIdentity": {"enabled": True}}),
        "account-policies": plain(
            CASES["role-policy"], ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]
        ),
        "policy-settings": plain(CASES["policy-settings"]),
        "require-pod-identity": (ROOT / "deploy/kubernetes/namespace.yaml").read_text() + "---\n" + plain(require),
    }
    return {ROOT / f"tests/fixtures/rendered/{name}.yaml": HEAD + text for name, text in rendered.items()}


def plain(values, kinds=None, without=()):
    """The render without Helm's labels, sorted so that `kubectl apply` creates objects before those that need them."""
    documents = [text for text in HELM_LABELS.sub("", render(values).text).split("---\n") if HOOK not in text]
    is_kind = lambda text, kind: f"\nkind: {kind}\n" in text  # noqa: E731
    documents = [text for text in documents if not any(is_kind(text, kind) for kind in without)]
    if kinds:
        documents = [text for text in documents if any(is_kind(text, kind) for kind in kinds)]
    return "---\n".join(sorted(documents, key=lambda text: [is_kind(text, kind) for kind in LAST]))


def copies():
    """Helm reads no file outside the chart."""
    sources = {file: CHART / "files/dashboards" / file.name for file in sorted((ROOT / "dashboards").glob("*.json"))}
    rules = ROOT / "deploy/prometheus/rules.yaml"
    if rules.exists():
        sources[rules] = CHART / "files/rules.yaml"
    return {copy: source.read_text() for source, copy in sources.items()}


def stale_copies():
    """Copies in the chart whose source no longer exists."""
    there = [*(CHART / "files").glob("dashboards/*.json"), *(CHART / "files").glob("rules.yaml")]
    return set(there) - set(copies())


def with_table(readme):
    start, end = "<!-- values -->\n", "<!-- /values -->\n"
    before, rest = readme.split(start)
    _, after = rest.split(end)
    rows = "".join(f"| `{path}` | {default(path)} | {text} |\n" for path, text in documented().items())
    return f"{before}{start}| value | default | meaning |\n| --- | --- | --- |\n{rows}{end}{after}"


def default(path):
    value = default_values()
    for key in path.split("."):
        value = value[key]
    return "" if value is None else f"`{json.dumps(value)}`"


def documented():
    """The keys of values.yaml below a comment "# -- …", as paths, with the comment."""
    found, comment, keys = {}, None, []
    for line in (CHART / "values.yaml").read_text().splitlines():
        if match := re.match(r" *# -- (.*)", line):
            comment = match[1]
        elif match := re.match(r" *# (.*)", line):
            comment = comment and f"{comment} {match[1]}"
        elif match := re.match(r"( *)([A-Za-z0-9]+):", line):
            keys = [*keys[: len(match[1]) // 2], match[2]]
            if comment:
                found[".".join(keys)] = comment
            comment = None
        else:
            comment = None
    return found


def update():
    for path in stale_copies():
        path.unlink()
    for path, text in generated().items():
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"written: {path.relative_to(ROOT)}")


if __name__ == "__main__":
    update()
