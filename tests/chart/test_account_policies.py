"""The policies for ServiceAccounts. What they say of an account is tested on a real API server, in tests/e2e."""

import re

import pytest

from chart import ROOT, rendered

NAMES = re.findall(r'^    [A-Z]\w+ = "([a-z-]+)" on ', (ROOT / "src/injection/annotation.rs").read_text(), re.MULTILINE)

POLICIES = {
    "defaults": {"-annotations": "Warn"},
    "annotation-policy-denies": {"-annotations": "Deny"},
    "annotation-policy-off": {},
    "role-policy": {"-annotations": "Warn", "-roles": "Deny"},
    "role-policy-warns": {"-annotations": "Warn", "-roles": "Warn"},
}


@pytest.mark.parametrize("case", POLICIES)
def test_each_policy_is_bound_with_its_action(case):
    out = rendered(case)
    names = {policy["metadata"]["name"] for policy in out.all("ValidatingAdmissionPolicy")}
    assert names == {f"eks-pod-identity-webhook{suffix}" for suffix in POLICIES[case]}
    for suffix, action in POLICIES[case].items():
        binding = out.named("ValidatingAdmissionPolicyBinding", suffix)
        assert binding["spec"] == {
            "policyName": f"eks-pod-identity-webhook{suffix}",
            "validationActions": [action],
        }


def test_they_look_at_service_accounts_alone():
    for policy in rendered("role-policy").all("ValidatingAdmissionPolicy"):
        constraints = policy["spec"]["matchConstraints"]
        (rule,) = constraints["resourceRules"]
        assert (rule["resources"], rule["operations"]) == (["serviceaccounts"], ["CREATE", "UPDATE"])
        assert constraints["namespaceSelector"] == constraints["objectSelector"] == {}


def test_a_report_prevents_nothing_and_a_rule_holds():
    out = rendered("role-policy")
    fails = {suffix: out.named("ValidatingAdmissionPolicy", suffix)["spec"]["failurePolicy"] for suffix in ("-annotations", "-roles")}
    assert fails == {"-annotations": "Ignore", "-roles": "Fail"}


def test_the_names_are_those_of_the_program():
    spec = rendered("defaults").named("ValidatingAdmissionPolicy", "-annotations")["spec"]
    text = "\n".join(variable["expression"] for variable in spec["variables"])
    assert len(NAMES) >= 7
    for name in NAMES:
        assert f"'eks.amazonaws.com/{name}'" in text and f"? '{name}' :" in text, name


def test_another_prefix_is_used_throughout():
    for policy in rendered("annotation-policy-denies").all("ValidatingAdmissionPolicy"):
        assert "eks.amazonaws.com" not in str(policy) and "example.com/role-arn" in str(policy)
    roles = rendered("role-policy-warns").named("ValidatingAdmissionPolicy", "-roles")
    assert "eks.amazonaws.com" not in str(roles) and "example.com/permitted-roles" in str(roles)


def test_short_names_are_completed_before_they_are_compared():
    roles = rendered("role-policy-warns").named("ValidatingAdmissionPolicy", "-roles")
    assert "'arn:aws:iam::111122223333:role/'" in roles["spec"]["variables"][0]["expression"]


@pytest.mark.parametrize("case", POLICIES)
def test_they_use_nothing_that_kubernetes_1_30_lacks(case):
    """An API server refuses a policy with a function that it does not know, and with it the whole installation."""
    newer = re.compile(r"\b(transformList|transformMap|transformMapEntry|cel\.bind|math\.\w+|semver|format\.\w+)\b")
    for policy in rendered(case).all("ValidatingAdmissionPolicy"):
        assert not newer.search(str(policy["spec"])), policy["metadata"]["name"]
