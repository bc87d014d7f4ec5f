"""The CEL conditions, evaluated on pods that an API server sent."""

import json

import pytest
from cel_expr_python import cel

from chart import ROOT, rendered

REVIEWS = ROOT / "tests/fixtures/admission-reviews"
ENV = cel.NewEnv(variables={"object": cel.Type.DYN, "variables": cel.Type.DYN})


def evaluate(expression, **data):
    return ENV.compile(expression).eval(data=data).plain_value()


def pods():
    """The recorded pods by the names of their files."""
    for path in sorted(REVIEWS.glob("*.json")):
        pod = json.loads(path.read_text())["request"]["object"]
        if pod and pod["kind"] == "Pod":
            yield path.stem, pod


def test_only_mirror_pods_are_left_out():
    (entry,) = rendered("defaults").the("MutatingWebhookConfiguration")["webhooks"]
    (condition,) = entry["matchConditions"]
    left_out = [name for name, pod in pods() if not evaluate(condition["expression"], object=pod)]
    assert left_out == ["mirror-pod"]


def admitted(pod):
    """Whether the policy for pods that require an identity would admit this one."""
    spec = rendered("require-with-policy").named("ValidatingAdmissionPolicy", "-require")["spec"]
    variables = {v["name"]: evaluate(v["expression"], object=pod) for v in spec["variables"]}
    return all(evaluate(v["expression"], object=pod, variables=variables) for v in spec["validations"])


@pytest.mark.parametrize(("name", "pod"), [*pods()], ids=lambda value: value if isinstance(value, str) else "")
def test_a_pod_that_requires_an_identity_needs_one(name, pod):
    assert admitted(pod) == ("AWS_WEB_IDENTITY_TOKEN_FILE" in json.dumps(pod["spec"]))


def test_one_container_is_enough_even_an_init_container():
    assert admitted({"spec": {"containers": [{"name": "a", "env": [{"name": "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}]}]}})
    token = [{"name": "OTHER"}, {"name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/token"}]
    assert admitted({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "b", "env": token}]}})
    assert admitted({"spec": {"containers": [{"name": "a"}, {"name": "b", "env": token}]}})
    assert not admitted({"spec": {"containers": [{"name": "a", "env": token[:1]}], "initContainers": [{"name": "b"}]}})
