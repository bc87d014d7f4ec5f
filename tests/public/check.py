"""Injects every manifest below a folder with `mutate`: `check.py PROGRAM FOLDER [KUBECONFIG]`.

Each account that a pod names is given a role (ServiceAccounts of the input are left out). Then: a document without pods comes out as it went in, byte for byte; every container of
every pod template has the role; nothing else of the document has changed; a second run adds nothing. With a kubeconfig, the API server
is asked to create the result as a dry run, wherever it takes the original. A file that is not YAML is not tried.
"""

import copy
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import yaml

ROLE = "arn:aws:iam::111122223333:role/public"
LISTS = ("initContainers", "containers")
TEMPLATES = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(
        ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job"), ("spec", "template")
    ),
}


class Loader(yaml.CSafeLoader):
    """Reads `=` and dates as the strings that they are in YAML 1.2."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":value"))]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


class Finding(Exception):
    """What is wrong with the outcome for a file."""


def main(program, folder, kubeconfig=None):
    counts, findings = Counter(), []
    for file in sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".yml", ".json")):
        try:
            text = without_accounts(file.read_text())
            documents = list(yaml.load_all(text, Loader))
        except (yaml.YAMLError, UnicodeDecodeError):
            counts["files that are not YAML"] += 1
            continue
        objects = [object for document in documents for object in flattened(document)]
        if not any(is_object(object) for object in objects):
            counts["files without objects"] += 1
            continue
        try:
            counts += check(program, text, documents, kubeconfig)
        except Finding as finding:
            findings.append(f"{file.relative_to(folder)}: {finding}")
    print(*findings, sep="\n")
    print(f"{len(findings)} findings;", ", ".join(f"{number} {what}" for what, number in sorted(counts.items())))
    return 1 if findings else 0


def check(program, text, documents, kubeconfig):
    counts = Counter({"files": 1})
    accounts = accounts_of(documents)
    output = mutate(program, text, accounts)
    try:
        injected = list(yaml.load_all(output, Loader))
    except yaml.YAMLError as error:
        raise Finding(f"the result is not YAML: {error}") from error
    before, after = ([document for document in whole if document is not None] for whole in (documents, injected))
    if len(before) != len(after):
        raise Finding(f"{len(before)} documents became {len(after)}")
    for before, after in zip(before, after, strict=True):
        for original, result in zip(flattened(before), flattened(after), strict=True):
            counts += check_object(original, result)
            if kubeconfig and template_of(original) is not None:
                counts += dry_run(kubeconfig, original, result)
    if mutate(program, output, accounts) != output:
        raise Finding("a second run changes the result")
    check_untouched_text(text, output)
    return counts


def check_object(original, result):
    pod = template_of(original)
    if pod is None:
        if original != result:
            raise Finding(f"{named(original)} has no pods and has changed")
        return Counter({"objects without pods": 1})
    after = template_of(result)
    for name in LISTS:
        for container in after["spec"].get(name) or []:
            env = {entry["name"] for entry in container.get("env") or []}
            if "AWS_ROLE_ARN" not in env:
                raise Finding(f"{named(original)}: container {container['name']} has no role")
    if without_identity(original, result) != original:
        raise Finding(f"{named(original)}: something else has changed")
    return Counter({"pod templates": 1})


def check_untouched_text(text, output):
    """Documents without pods keep their bytes, comments included."""
    before, after = (whole.split("\n---") for whole in (text, output))
    if len(before) != len(after):
        raise Finding("the lines between the documents have changed")
    for old, new in zip(before, after, strict=True):
        document = yaml.load(old.split("\n", 1)[-1] if old.lstrip().startswith("---") else old, Loader)
        if old != new and not any(template_of(object) is not None for object in flattened(document)):
            raise Finding(f"the text of a document without pods has changed: {old[:80]!r}")


def without_identity(original, result):
    """The result without what was injected."""
    result = copy.deepcopy(result)
    spec, before = template_of(result)["spec"], template_of(original)["spec"]
    strip(spec, before, "volumes", lambda volume: volume["name"].startswith("aws-token"))
    for name in LISTS:
        for container, old in zip(spec.get(name) or [], before.get(name) or [], strict=True):
            strip(container, old, "env", lambda entry: entry["name"].startswith("AWS_") and entry not in (old.get("env") or []))
            strip(container, old, "volumeMounts", lambda mount: mount["name"].startswith("aws-token"))
    return result


def strip(holder, before, key, is_injected):
    items = [item for item in holder.get(key) or [] if not is_injected(item)]
    if items or key in before:
        holder[key] = items if items else before[key]
    else:
        holder.pop(key, None)


def without_accounts(text):
    """The text without its ServiceAccounts, since those of the input come before the test's, and have no role."""
    parts = text.split("\n---")
    return "\n---".join(part for part in parts if not re.search(r"^kind: *[\"']?ServiceAccount[\"']? *$", part, re.MULTILINE))


def accounts_of(documents):
    names = set()
    for document in documents:
        for object in flattened(document):
            pod = template_of(object)
            if pod is not None:
                spec = pod["spec"]
                account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
                names.add((object["metadata"].get("namespace") or "default", account))
    role = {"eks.amazonaws.com/role-arn": ROLE}
    return yaml.safe_dump_all(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespace, "annotations": role},
        }
        for namespace, name in sorted(names)
    )


def mutate(program, text, accounts):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(accounts)
        file.flush()
        args = [program, "mutate", "--file=-", f"--service-accounts={file.name}"]
        run = subprocess.run(args, input=text.encode(), capture_output=True, check=False)
    if run.returncode:
        raise Finding(f"mutate exits with {run.returncode}: {run.stderr.decode().strip()[:300]}")
    return run.stdout.decode()


def dry_run(kubeconfig, original, result):
    refusal = refused(kubeconfig, original)
    if refusal:
        return Counter({"refused by the API server as they came": 1})
    refusal = refused(kubeconfig, result)
    if refusal:
        raise Finding(f"{named(original)}: the API server refuses the result: {refusal[:300]}")
    return Counter({"taken by the API server": 1})


def refused(kubeconfig, object):
    object = copy.deepcopy(object)
    object["metadata"]["namespace"] = "default"
    args = ["kubectl", f"--kubeconfig={kubeconfig}", "create", "--dry-run=server", "--filename=-"]
    run = subprocess.run(args, input=yaml.safe_dump(object).encode(), capture_output=True, check=False)
    return run.stderr.decode().strip() if run.returncode else None


def flattened(document):
    if is_object(document) and document["kind"].endswith("List") and isinstance(document.get("items"), list):
        return [object for item in document["items"] for object in flattened(item)]
    return [document]


def is_object(document):
    return isinstance(document, dict) and isinstance(document.get("kind"), str) and "apiVersion" in document


def template_of(object):
    """The pod template of a workload of Kubernetes' own, or None."""
    if not is_object(object) or object["kind"] not in TEMPLATES or object["apiVersion"] not in ("v1", "apps/v1", "batch/v1"):
        return None
    for field in TEMPLATES[object["kind"]]:
        object = object.get(field) or {}
    return object if object.get("spec") else None


def named(object):
    return f"{object['kind']} {object['metadata'].get('name')}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
