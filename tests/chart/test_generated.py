"""The files that `deploy/check --update` writes are up to date and usable."""

import base64
import re
import shutil
import tomllib
import uuid
from xml.etree import ElementTree

import pytest
import yaml

import kubernetes
from cases import CASES
from chart import CHART, ROOT, default_values, render
from generated import VARIANTS, documented, generated, stale_copies

UPDATE = "run `deploy/check --update`"


@pytest.mark.parametrize("path", generated(), ids=lambda path: str(path.relative_to(ROOT)))
def test_is_up_to_date(path):
    assert path.exists() and path.read_text() == generated()[path], UPDATE


def test_every_copy_in_the_chart_has_a_source():
    assert stale_copies() == set(), UPDATE


def test_every_value_is_documented():
    def leaves(values, prefix=""):
        for key, value in values.items():
            path = prefix + key
            if path in documented() or not isinstance(value, dict) or not value:
                yield path
            else:
                yield from leaves(value, path + ".")

    assert list(leaves(default_values())) == list(documented())


def test_every_value_that_the_readme_sets_exists():
    readme = (CHART / "README.md").read_text()
    for argument in re.findall(r"--set(?:-string|-file|-json)? '?([A-Za-z.]+)=", readme):
        top, *rest = argument.split(".")
        value = default_values()[top]
        for key in rest:
            value = value[key] if value else None
    assert "--set" in readme


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_plain_manifests_are_what_the_chart_renders(variant):
    """Compared as objects: only Helm's two labels and the namespace differ."""
    plain = list(yaml.safe_load_all((ROOT / f"deploy/kubernetes/{variant}/webhook.yaml").read_text()))
    assert plain[0]["kind"] == "Namespace"
    assert plain[-1]["kind"] == "MutatingWebhookConfiguration"
    expected = render(VARIANTS[variant]).objects
    for obj in expected:
        del obj["metadata"]["labels"]["app.kubernetes.io/managed-by"], obj["metadata"]["labels"]["helm.sh/chart"]
    by_name = lambda o: (o["kind"], o["metadata"]["name"])  # noqa: E731
    assert sorted(plain[1:], key=by_name) == sorted(expected, key=by_name)
    for obj in plain:
        kubernetes.validate(obj)


def test_the_chart_says_who_publishes_it():
    package = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == package["version"]
    assert [chart["home"]] == chart["sources"] == [package["repository"]]
    assert [maintainer["name"] for maintainer in chart["maintainers"]] == package["authors"]
    (image,) = yaml.safe_load(chart["annotations"]["artifacthub.io/images"])
    assert image["image"] == f"{package['metadata']['publication']['image']}:{package['version']}"


def test_the_icon_is_a_picture():
    kind, data = yaml.safe_load((CHART / "Chart.yaml").read_text())["icon"].split(";base64,")
    assert kind == "data:image/svg+xml"
    assert ElementTree.fromstring(base64.b64decode(data)).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_metadata_of_artifact_hub():
    metadata = yaml.safe_load((CHART.parent / "artifacthub-repo.yml").read_text())
    assert metadata.keys() == {"repositoryID", "owners"}
    uuid.UUID(metadata["repositoryID"])


def test_the_text_of_rules_and_dashboards_is_not_a_template(tmp_path):
    chart = tmp_path / CHART.name
    shutil.copytree(CHART, chart, ignore=shutil.ignore_patterns("files"))
    (chart / "files/dashboards").mkdir(parents=True)
    assert not render(CASES["observability"], chart=chart).all("PrometheusRule"), "without files there is nothing to render"

    dashboard = '{\n  "title": "{{ pod }}",\n\n  "legendFormat": "{{reason}}"\n}\n'
    (chart / "files/dashboards/overview.json").write_text(dashboard)
    rules = {"groups": [{"name": "a", "rules": [{"alert": "A", "expr": "up == 0", "annotations": {"summary": "{{ $labels.pod }}"}}]}]}
    (chart / "files/rules.yaml").write_text(yaml.safe_dump(rules))
    out = render(CASES["observability"], chart=chart)
    assert out.the("PrometheusRule")["spec"] == rules
    assert out.the("ConfigMap")["data"]["overview.json"].strip() == dashboard.strip()
