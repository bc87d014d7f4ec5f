"""Pods that run other commands: the CronJobs of `checks`, and `helm test`. Their arguments, files and rights."""

import re
import subprocess

import pytest
import yaml

from cases import CASES
from chart import HOOK, NAMESPACE, ROOT, binary, default_values, flag, render, rendered

NAME = "eks-pod-identity-webhook"
DISCOVERY = "system:service-account-issuer-discovery"
READ_MAPPING = {
    "apiGroups": [""],
    "resources": ["configmaps"],
    "resourceNames": ["pod-identity-webhook"],
    "verbs": ["get"],
}


def command_pod(out, name):
    """The pod's spec of a CronJob or of `helm test`."""
    if name == "doctor":
        return next(o for o in out.hooks if o["kind"] == "Pod")["spec"]
    job = next(job for job in out.all("CronJob") if job["metadata"]["name"] == f"{NAME}-{name}")
    return job["spec"]["jobTemplate"]["spec"]["template"]["spec"]


def args(out, name):
    (container,) = command_pod(out, name)["containers"]
    return container["args"]


def rights(out, account):
    """What a ServiceAccount may do: (namespace or None, role, rules), rules None for a role of the cluster's."""
    objects = out.objects + out.hooks
    roles = {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in objects if "rules" in o}
    found = []
    for binding in objects:
        if binding["kind"].endswith("Binding") and "subjects" in binding:
            (subject,) = binding["subjects"]
            if (subject["kind"], subject["name"], subject["namespace"]) == ("ServiceAccount", account, NAMESPACE):
                namespace, ref = binding["metadata"].get("namespace"), binding["roleRef"]
                role = roles.get((ref["kind"], namespace if ref["kind"] == "Role" else None, ref["name"]))
                found.append((namespace, ref["name"], role and role["rules"]))
    return found


def documented_rules(page):
    """The rules that a page gives for its command."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    roles = [role for block in blocks for role in yaml.safe_load_all(block) if role and "rules" in role]
    return {role["kind"]: role["rules"] for role in roles}


@pytest.mark.parametrize("case", ["checks", "mappings", "globals", "policy-checks", "long-name", "every-setting"])
def test_the_program_accepts_the_arguments(case):
    """Each command gets as far as finding no cluster; a mistyped flag or value is exit code 2."""
    out = render(CASES[case] | {"checks": CASES["checks"]["checks"]}) if case == "every-setting" else rendered(case)
    pods = [job["spec"]["jobTemplate"]["spec"]["template"]["spec"] for job in out.all("CronJob")]
    pods += [hook["spec"] for hook in out.hooks if hook["kind"] == "Pod"]
    assert pods
    for pod in pods:
        (container,) = pod["containers"]
        env = {e["name"]: e["value"] for e in container.get("env", []) if "value" in e}
        env |= {"HOME": "/nonexistent", "KUBECONFIG": "/nonexistent"}
        done = subprocess.run([binary(), *container["args"]], env=env, capture_output=True, text=True, timeout=20)
        assert done.returncode == 1, done.stderr


def test_a_cron_job():
    oidc, audit = sorted(rendered("checks").all("CronJob"), key=lambda job: job["metadata"]["name"], reverse=True)
    assert [job["spec"]["schedule"] for job in (oidc, audit)] == ["@daily", "0 5 * * 1"]
    for job in (oidc, audit):
        assert job["spec"]["concurrencyPolicy"] == "Forbid"
        run = job["spec"]["jobTemplate"]["spec"]
        assert run["backoffLimit"] == 0 and run["template"]["spec"]["restartPolicy"] == "Never"
    assert not rendered("defaults").all("CronJob")


@pytest.mark.parametrize("name", ["audit", "oidc", "doctor"])
def test_the_pod_is_restricted_and_not_part_of_the_service(name):
    out = rendered("checks")
    pod = command_pod(out, name)
    assert pod["securityContext"] == out.pod["spec"]["securityContext"]
    (container,) = pod["containers"]
    assert container["securityContext"] == out.container["securityContext"]
    assert container["image"] == out.container["image"]
    labels = next(o for o in out.hooks if o["kind"] == "Pod")["metadata"]["labels"]
    for job in out.all("CronJob"):
        assert not job_labels(job).items() >= out.the("Service")["spec"]["selector"].items()
    assert not labels.items() >= out.the("Service")["spec"]["selector"].items()


def job_labels(job):
    return job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]


def test_audit_expects_the_pods_that_the_webhook_makes():
    assert args(rendered("checks"), "audit") == [
        "audit",
        f"--excluded-namespaces=kube-system,{NAMESPACE}",
        "--aws-account-id=011122223333",
        "--aws-region=eu-west-1",
        "--output=json",
    ]
    (container,) = command_pod(rendered("checks"), "audit")["containers"]
    assert container["env"] == rendered("checks").container["env"]
    mapped = args(rendered("mappings"), "audit")
    assert f"--config-map-namespace={NAMESPACE}" in mapped
    files = "/etc/webhook/container-credentials"
    assert f"--watch-container-credentials-config={files}/identities.json" in mapped
    pod = command_pod(rendered("mappings"), "audit")
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == [files]
    assert pod["volumes"] == rendered("mappings").pod["spec"]["volumes"]


def test_audit_gets_every_setting_that_it_has():
    """Without a setting that it shares with `serve`, audit would report pods that are correct."""
    listing = subprocess.run([binary(), "audit", "--help"], capture_output=True, text=True, check=True).stdout
    takes = set(re.findall(r"^\s+(?:-\w, )?--([a-z-]+)", listing, flags=re.MULTILINE))
    out = render(CASES["every-setting"] | {"checks": {"audit": {"enabled": True}}})
    given = {arg.removeprefix("--").partition("=")[0] for arg in args(out, "audit")[1:]}
    assert given - {"excluded-namespaces", "config-map-namespace", "role-policy"} == {flag(key) for key in default_values()["config"]} & takes


def test_the_rights_of_audit():
    rules = documented_rules("docs/reference/audit.md")["ClusterRole"]
    assert rights(rendered("checks"), f"{NAME}-audit") == [(None, f"{NAME}-audit", rules)]
    assert rights(rendered("mappings"), f"{NAME}-audit") == [
        (None, f"{NAME}-audit", rules),
        (NAMESPACE, f"{NAME}-audit", [READ_MAPPING]),
    ]
    (policy,) = documented_rules("docs/policies.md")["ClusterRole"]
    assert rights(rendered("role-policy-mappings"), f"{NAME}-audit")[0] == (None, f"{NAME}-audit", [*rules, policy])
    assert "--role-policy=arn:aws:iam::111122223333:role/tenants/{namespace}/*" in args(rendered("role-policy-mappings"), "audit")


def test_oidc_verify():
    out = rendered("checks")
    assert args(out, "oidc") == [
        "oidc",
        "verify",
        "--ca-file=/etc/webhook/authorities/bundle.pem",
        "--issuer=https://oidc.example.com",
    ]
    assert command_pod(out, "oidc")["volumes"] == [{"name": "authorities", "configMap": {"name": "public-authorities"}}]
    assert rights(out, f"{NAME}-oidc") == [(None, DISCOVERY, None)]


def test_helm_test_runs_doctor_on_what_is_installed():
    out = rendered("checks")
    assert args(out, "doctor") == [
        "doctor",
        f"--namespace={NAMESPACE}",
        f"--webhook-configuration-name={out.full_name}",
        f"--as-service-account={out.pod['spec']['serviceAccountName']}",
        f"--tls-secret-name={out.flags['tls-secret-name']}",
        "--token-audience=sts.example.com",
        "--service-account=payments/api",
        "--ca-file=/etc/webhook/authorities/bundle.pem",
    ]
    assert "--ca-file" not in " ".join(args(rendered("defaults"), "doctor"))
    assert not rendered("policy").hooks


def test_the_rights_of_doctor():
    """Those of its page; what lies in the program's namespace is granted only there."""
    cluster = documented_rules("docs/reference/doctor.md")["ClusterRole"]
    local = [rule for rule in cluster if rule["resources"] in (["services"], ["endpointslices"])]
    name = f"{NAME}-doctor"
    found = rights(rendered("defaults"), name)
    assert found == [
        (None, name, [rule for rule in cluster if rule not in local]),
        (NAMESPACE, name, [local[0] | {"resourceNames": [NAME]}, local[1]]),
    ]
    account = [rule for rule in documented_rules("docs/reference/doctor.md")["Role"]]
    (rule,) = account
    assert rule["resources"] == ["serviceaccounts/token", "pods"] and rule["verbs"] == ["create"]
    assert rights(rendered("checks"), name)[2:] == [
        (
            "payments",
            f"{name}-account",
            [
                rule | {"resources": ["serviceaccounts/token"], "resourceNames": ["api"]},
                rule | {"resources": ["pods"]},
            ],
        )
    ]


def test_the_rights_of_doctor_end_with_the_test():
    for hook in rendered("checks").hooks:
        annotations = hook["metadata"]["annotations"]
        assert annotations[HOOK] == "test"
        ends = "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]
        assert ends == (hook["kind"] != "Pod"), "helm test --logs reads the pod afterwards"
        assert int(annotations.get("helm.sh/hook-weight", 0)) == (0 if hook["kind"] == "Pod" else -1)


def test_without_rbac_commands_have_accounts_and_no_rights():
    out = rendered("checks-without-rbac")
    assert {account["metadata"]["name"] for account in out.all("ServiceAccount")} == {
        NAME, f"{NAME}-audit", f"{NAME}-oidc",
    }  # fmt: skip
    assert not [o for o in out.objects + out.hooks if "Role" in o["kind"]]


def test_mappings_reach_the_program():
    out = rendered("mappings")
    mapping = next(c for c in out.all("ConfigMap") if c["metadata"]["name"] == "pod-identity-webhook")
    assert yaml.safe_load(mapping["data"]["config"]) == CASES["mappings"]["roleMappings"]
    assert out.flags["watch-config-map"] == "true"
    identities = next(c for c in out.all("ConfigMap") if c is not mapping)
    assert yaml.safe_load(identities["data"]["identities.json"]) == {
        "identities": CASES["mappings"]["containerCredentials"]
    }
    (volume,) = out.pod["spec"]["volumes"]
    assert volume["configMap"]["name"] == identities["metadata"]["name"]
    (mount,) = out.container["volumeMounts"]
    assert out.flags["watch-container-credentials-config"] == f"{mount['mountPath']}/identities.json"
