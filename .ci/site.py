"""Hooks of mkdocs.yml: pages that live elsewhere in the repository, and links that leave `docs`."""

import re
import tomllib
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent

# Path in the repository, and in the site.
INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "deploy/helm/eks-pod-identity-webhook/README.md": "reference/chart.md",
    "deploy/kubernetes/README.md": "install/manifests.md",
}
PLACES = {**INCLUDED, "README.md": "index.md"}

LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files, config):
    for origin, place in INCLUDED.items():
        files.append(File.generated(config, place, content=(ROOT / origin).read_text()))
    return files


def on_page_markdown(markdown, page, config, files):
    place = page.file.src_uri
    origin = next((origin for origin, included in INCLUDED.items() if included == place), f"docs/{place}")
    repository = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["repository"]

    def lead(match):
        text, link = match.groups()
        if "://" in link or link.startswith("#"):
            return match[0]
        path, mark, anchor = link.partition("#")
        target = normpath(join(dirname(origin), path))
        inside = PLACES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else None)
        if inside is not None:
            return f"[{text}]({relpath(inside, dirname(place) or '.')}{mark}{anchor})"
        if not (ROOT / target).exists():
            return match[0]  # mkdocs reports it
        # Until the repository is published, there is nothing to lead to.
        return text if ".example" in repository else f"[{text}]({repository}/blob/main/{target}{mark}{anchor})"

    return LINK.sub(lead, markdown)
