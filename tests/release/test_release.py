"""The steps of a release, run as .github/workflows/release.yaml runs them, up to where a registry or GitHub is needed."""

import hashlib
import os
import re
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/release.yaml").read_text())
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]
NAME = CARGO["name"]
DIGEST = "sha256:" + "0" * 64
TARGETS = [row["target"] for row in WORKFLOW["jobs"]["archives"]["strategy"]["matrix"]["include"]]


def release(*arguments: object) -> subprocess.CompletedProcess:
    command = [ROOT / ".ci/release", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_publication_names_every_output_of_the_workflow():
    lines = release("publication").stdout.splitlines()
    outputs = WORKFLOW["jobs"]["publication"]["outputs"].values()
    names = {re.search(r"outputs\.([A-Z]+)", output)[1] for output in outputs}
    assert names == {line.split("=", 1)[0] for line in lines}


def test_a_release_with_placeholders_or_of_another_version_is_refused():
    result = release("publication", "--for", "v9.9.9")
    assert result.returncode == 1
    assert "the tag is v9.9.9" in result.stderr
    assert ("is the placeholder" in result.stderr) == (".example" in CARGO["repository"])


def test_archives_are_what_binstall_and_krew_expect(tmp_path):
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho hello\n")
    for target in TARGETS:
        assert release("archive", program, target, tmp_path / "archives").returncode == 0
    archives = sorted((tmp_path / "archives").iterdir())
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in archives}
    (tmp_path / "SHA256SUMS").write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))

    manifest = release("krew", tmp_path / "SHA256SUMS").stdout
    plugin = yaml.safe_load(manifest)
    assert "@" not in manifest
    assert plugin["spec"]["version"] == f"v{CARGO['version']}"
    assert len(plugin["spec"]["platforms"]) == len(TARGETS)
    for platform in plugin["spec"]["platforms"]:
        file = platform["uri"].rsplit("/", 1)[1]
        assert platform["sha256"] == sums[file]
        with tarfile.open(tmp_path / "archives" / file) as tar:
            assert tar.getmember(platform["bin"]).mode == 0o755

    binstall = CARGO["metadata"]["binstall"]
    for target in TARGETS:
        values = {"name": NAME, "target": target, "version": CARGO["version"], "repo": CARGO["repository"], "bin": NAME}
        url, binary = (re.sub(r"\{ (\w+) \}", lambda match: values[match[1]], binstall[key]) for key in ["pkg-url", "bin-dir"])
        with tarfile.open(tmp_path / "archives" / url.rsplit("/", 1)[1]) as tar:
            tar.extract(binary, tmp_path, filter="data")
        assert os.access(tmp_path / binary, os.X_OK)


def test_an_archive_is_the_same_bytes_for_the_same_program(tmp_path):
    program = tmp_path / "program"
    archives = []
    for time in [0, 1_700_000_000]:
        program.write_text("x")
        os.utime(program, (time, time))
        assert release("archive", program, TARGETS[0], tmp_path / str(time)).returncode == 0
        archives.append((tmp_path / str(time) / f"{NAME}-{TARGETS[0]}.tar.gz").read_bytes())
    assert archives[0] == archives[1]


def test_the_released_chart_installs_the_image_by_digest(tmp_path):
    result = release("chart", "registry.test/team/webhook", DIGEST, tmp_path / "chart")
    assert result.returncode == 0, result.stderr
    values = yaml.safe_load((tmp_path / "chart/values.yaml").read_text())
    original = yaml.safe_load((ROOT / "deploy/helm" / NAME / "values.yaml").read_text())
    image = values.pop("image")
    assert (image["registry"], image["repository"], image["digest"]) == ("registry.test", "team/webhook", DIGEST)
    original.pop("image")
    assert values == original
    chart = yaml.safe_load((tmp_path / "chart/Chart.yaml").read_text())
    assert f"registry.test/team/webhook:{CARGO['version']}@{DIGEST}" in chart["annotations"]["artifacthub.io/images"]


def test_notes_are_the_section_of_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    heading = re.search(r"^## (\S+)", changelog, re.M)[1]
    notes = release("notes", heading, f"registry.test/webhook@{DIGEST}").stdout
    assert notes.startswith("### ")
    assert f"registry.test/webhook@{DIGEST}" in notes


@pytest.mark.parametrize("path", sorted((ROOT / ".github/workflows").glob("*.yaml")), ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit(path):
    for action in re.findall(r"uses: (\S+)", path.read_text()):
        assert action.startswith("./") or re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action


def test_workflows_run_scripts_that_exist():
    for path in (ROOT / ".github/workflows").glob("*.yaml"):
        for script in re.findall(r"(?<![\w/.])((?:\.ci|tests)/[\w/]+)", path.read_text()):
            assert os.access(ROOT / script, os.X_OK), f"{path.name}: {script}"
