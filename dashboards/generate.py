#!/usr/bin/env python3
"""Writes the dashboards: `generate.py`, or `--check` to fail where a file differs. With `--config` and `--output`, writes
dashboards and rules for other selectors, thresholds and links. `dashboards/check --generate` runs this with the library it needs.

What the dashboards show stands in `overview.py`, `upgrade.py` and `tenants.py`; `grafana.py` has what they share.
"""

import argparse
import json
import pathlib
import sys
import tomllib

import yaml

sys.dont_write_bytecode = True

from grafana import Panels, TAG  # noqa: E402
from overview import overview  # noqa: E402
from tenants import tenants  # noqa: E402
from upgrade import upgrade  # noqa: E402

HERE = pathlib.Path(__file__).parent
RULES = HERE.parent / "deploy/prometheus/rules.yaml"


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("--check", action="store_true", help="fail where a file differs from what would be written")
    options.add_argument("--config", type=pathlib.Path, default=HERE / "config.toml")
    options.add_argument("--output", type=pathlib.Path, default=HERE)
    options = options.parse_args()
    config = tomllib.loads(options.config.read_text())
    files = {options.output / f"{one['uid'].removeprefix(TAG + '-')}.json": json.dumps(one, indent=2, ensure_ascii=False) + "\n" for one in dashboards(config)}
    if options.output != HERE:
        files[options.output / "rules.yaml"] = yaml.safe_dump(rules(config), sort_keys=False, width=1000)
    stale = [path.name for path, text in files.items() if not path.exists() or path.read_text() != text]
    if options.check:
        sys.exit(f"{', '.join(stale)}: not what dashboards/generate.py writes; run dashboards/check --generate" if stale else 0)
    options.output.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text)


def dashboards(config):
    panels = Panels(config)
    return [overview(panels), upgrade(panels), tenants(panels)]


def rules(config):
    """The rules without the disabled alerts, with overrides and links to the runbook."""
    loaded = yaml.safe_load(RULES.read_text())
    disabled, overrides = config["alerts"]["disabled"], config["alerts"]["overrides"]
    known = {rule["alert"] for group in loaded["groups"] for rule in group["rules"] if "alert" in rule}
    if unknown := {*disabled, *overrides} - known:
        sys.exit(f"[alerts] names alerts that do not exist: {', '.join(sorted(unknown))}")
    for group in loaded["groups"]:
        group["rules"] = [adapt(rule, config) for rule in group["rules"] if rule.get("alert") not in disabled]
    return loaded


def adapt(rule, config):
    if "alert" in rule:
        override = config["alerts"]["overrides"].get(rule["alert"], {})
        rule["for"] = override.get("for", rule["for"])
        rule["labels"]["severity"] = override.get("severity", rule["labels"]["severity"])
        if runbook := config["links"]["runbook"]:
            rule["annotations"]["runbook_url"] = f"{runbook}#{rule['alert'].lower()}"
    return rule


if __name__ == "__main__":
    main()
