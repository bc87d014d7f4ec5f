"""Renders every Helm chart below a folder with its default values: `render.py SOURCES OUT`, one file a chart.

Dependencies are taken from the charts of the same folder. A chart whose dependencies are elsewhere, or that does not render with its
defaults, is reported and left out.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import helm_python
import yaml


def main(sources, out):
    charts = {}
    for file in sorted(sources.rglob("Chart.yaml")):
        if "charts" not in file.relative_to(sources).parts[1:-2] or file.parent.parent.name == "charts":
            charts.setdefault(yaml.safe_load(file.read_text())["name"], file.parent)
    out.mkdir(parents=True, exist_ok=True)
    rendered, failed = 0, []
    for name, folder in charts.items():
        try:
            text = render(name, folder, charts)
        except Exception as error:  # Whatever Helm says: this is a survey.
            failed.append(f"{folder.relative_to(sources)}: {str(error).splitlines()[0][:160]}")
            continue
        if text.strip():
            (out / f"{name}.yaml").write_text(text)
            rendered += 1
    print(*failed, sep="\n")
    print(f"{len(charts)} charts, {rendered} rendered, {len(failed)} failed")


def render(name, folder, charts):
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, name)
        shutil.copytree(folder, copy, symlinks=False, ignore_dangling_symlinks=True)
        add_dependencies(copy, charts)
        with helm_python.Chart.load(copy) as loaded:
            files = loaded.render({}, name=name, namespace="public")
    return "".join(f"---\n{text.strip()}\n" for path, text in sorted(files.items()) if is_manifest(path, text))


def is_manifest(path, text):
    return text.strip() and path.endswith((".yaml", ".yml")) and not Path(path).name.startswith("_")


def add_dependencies(chart, charts, depth=0):
    file = chart / "requirements.yaml" if (chart / "requirements.yaml").exists() else chart / "Chart.yaml"
    for dependency in yaml.safe_load(file.read_text()).get("dependencies") or []:
        name = dependency["name"]
        target = chart / "charts" / name
        if name in charts and not target.exists() and depth < 4:
            shutil.copytree(charts[name], target, ignore_dangling_symlinks=True)
            add_dependencies(target, charts, depth + 1)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
