"""Values that do not exist or cannot work are rejected before anything is installed."""

import copy
import re

import helm_python
import pytest

from chart import default_values, render, schema


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"mode": "policy", "config": {"compat": "aws"}}, "a policy follows our own rules"),
        ({"mode": "policy", "roleMappings": {"a/b": {"RoleARN": "c"}}}, "a policy reads annotations only"),
        ({"mode": "policy", "containerCredentials": [{"namespace": "a", "serviceAccount": "b"}]}, "annotations only"),
        ({"roleMappings": {"a/b": {"RoleARN": "c"}}, "config": {"watchConfigMap": False}}, "watchConfigMap is false"),
        (
            {
                "containerCredentials": [{"namespace": "a", "serviceAccount": "b"}],
                "config": {"watchContainerCredentialsConfig": "/file"},
            },
            "config.watchContainerCredentialsConfig are both set",
        ),
        ({"checks": {"oidcVerify": {"enabled": True}}}, "set checks.certificateAuthorities.configMap"),
        ({"autoscaling": {"enabled": True, "minReplicas": 6}}, "minReplicas is 6, above maxReplicas, 5"),
        ({"dashboards": {"grafanaDashboard": {"enabled": True}}}, "set dashboards.enabled as well"),
        ({"prometheusRule": {"enabled": True, "disabled": ["Slow"]}}, "there is no alert Slow"),
        ({"prometheusRule": {"enabled": True, "overrides": {"Slow": {"for": "1m"}}}}, "there is no alert Slow"),
        ({"tls": {"mode": "secret"}}, "set tls.secret.name"),
        ({"extraArgs": ["--listen=[::]:9443"]}, "extraArgs repeats --listen"),
        ({"config": {"awsRegion": "eu-west-1"}, "extraArgs": ["--aws-region=us-east-1"]}, "extraArgs repeats --aws-region"),
        ({"extraArgs": ["--log-level=debug", "--log-level=info"]}, "extraArgs repeats --log-level"),
        ({"service": {"port": 9090}}, "service.port and adminPort are both 9090"),
        ({"terminationGracePeriodSeconds": 24}, "the drain may take 25 seconds"),
        ({"terminationGracePeriodSeconds": 30, "env": {"DRAIN_DELAY": "11s"}}, "the drain may take 31 seconds"),
        ({"adminPort": 8443}, "both 8443"),
        ({"config": {"serviceAccounts": "/accounts"}}, "set tls.mode"),
        ({"env": {"SERVICE_ACCOUNTS": "/accounts"}}, "set tls.mode"),
        ({"hostNetwork": True, "containerPort": 10250}, "the kubelet's"),
        ({"controlPlane": {"enabled": True, "adminPort": 18443}}, "port and adminPort are both 18443"),
        ({"controlPlane": {"enabled": True}, "autoscaling": {"enabled": True}}, "set autoscaling.enabled to false"),
        ({"controlPlane": {"enabled": True}, "networkPolicy": {"enabled": True}}, "set networkPolicy.enabled to false"),
        ({"controlPlane": {"enabled": True}, "serviceMonitor": {"enabled": True}}, "set podMonitor.enabled instead"),
        ({"controlPlane": {"enabled": True}, "podMonitor": {"enabled": True}}, "set controlPlane.adminAddress"),
        ({"controlPlane": {"enabled": True}, "updateStrategy": {"type": "Recreate"}}, "updateStrategy is for the Deployment"),
        ({"controlPlane": {"enabled": True}, "mode": "policy"}, "a policy has no program to run on the control plane"),
        ({"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}}, "read twice"),
    ],
    ids=str,
)
def test_values_that_cannot_work_are_rejected_with_the_reason(values, reason):
    with pytest.raises(helm_python.HelmError, match=re.escape(reason)):
        render(values)


def test_the_schema_has_every_value_and_no_other():
    def keys(node, prefix=""):
        for key, value in node.get("properties", {}).items():
            if "$ref" in value:
                value = schema()["definitions"][value["$ref"].rpartition("/")[2]]
            yield prefix + key
            yield from keys(value, f"{prefix}{key}.")

    def given(values, prefix=""):
        for key, value in values.items():
            yield prefix + key
            if isinstance(value, dict):
                yield from given(value, f"{prefix}{key}.")

    # Fields that Kubernetes defines.
    opaque = re.compile(
        r"^(resources|startupProbe|livenessProbe|readinessProbe|updateStrategy|(controlPlane\.)?affinity|nodeSelector|podSecurityContext|"
        r"policy\.serviceAccountSelector|securityContext|dashboards\.labels|dashboards\.grafanaDashboard\.instanceSelector|"
        r"dnsConfig|autoscaling\.behavior|webhook\.(namespace|object)Selector|tls\.certManager\.issuerRef)\."
    )
    documented = {path for path in given(default_values()) if not opaque.search(path)}
    assert {path for path in keys(schema()) if not opaque.search(path)} == documented


def test_objects_of_the_schema_reject_unknown_keys():
    # A parent chart may have other globals.
    open_on_purpose = {"global", "podSecurityContext", "securityContext"}

    def check(node, path):
        if node.get("type") == "object" and "properties" not in node:
            assert "additionalProperties" in node or path in open_on_purpose, path
        if "properties" in node and path not in open_on_purpose:
            assert node["additionalProperties"] is False, path

    check(schema(), "")
    for key, node in schema()["properties"].items():
        check(node, key)
    for key, node in schema()["definitions"].items():
        check(node, key)


@pytest.mark.parametrize(
    "typo",
    [
        {"replicas": 2},
        {"replicaCount": "two"},
        {"mode": "webhooks"},
        {"image": {"repo": "x"}},
        {"image": {"digest": "latest"}},
        {"config": {"awsregion": "us-west-2"}},
        {"config": {"lookupGrace": "1"}},
        {"config": {"lookupGrace": 1}},
        {"config": {"logFormat": "xml"}},
        {"config": {"tokenExpiration": 60}},
        {"config": {"awsAccountId": 111122223333}},
        {"config": {"watchConfigMap": "true"}},
        {"config": {"containerCredentialsFullUri": "localhost:9911"}},
        {"config": {"watchContainerCredentialsConfig": "identities.json"}},
        {"config": {"awsAccountId": "1111-2222-3333"}},
        {"controlPlane": {"adminAddress": "localhost"}},
        {"env": {"AWS REGION": "x"}},
        {"env": {"AWS_REGION": None, "A": {"value": "x"}}},
        {"env": ["AWS_REGION=x"]},
        {"extraEnv": {"A": "x"}},
        {"tls": {"mode": "self-managed"}},
        {"tls": {"certManager": {"issuer": "x"}}},
        {"tls": {"secret": {"caBundle": "-----BEGIN CERTIFICATE-----"}}},
        {"webhook": {"failurePolicy": "ignore"}},
        {"webhook": {"timeoutSeconds": 31}},
        {"webhook": {"matchConditions": [{"name": "x"}]}},
        {"webhook": {"objectSelector": {"matchLabel": {}}}},
        {"requirePodIdentity": True},
        {"containerPort": 0},
        {"adminPort": 65536},
        {"listenAddress": "::"},
        {"service": {"port": "https"}},
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        {"podDisruptionBudget": {"minAvailable": 1}},
        {"resources": {"limit": {}}},
        {"tolerations": {}},
        {"affinity": {"nodeAffinities": {}}},
        {"livenessProbe": {"period": 1}},
        {"networkPolicy": {"egress": {"apiServerPorts": []}}},
        {"serviceMonitor": {"interval": "30"}},
        {"podMonitor": {"honorLabels": "yes"}},
        {"prometheusRule": {"disabled": {"PodIdentityWebhookSlow": True}}},
        {"prometheusRule": {"overrides": {"PodIdentityWebhookSlow": {"expr": "1"}}}},
        {"dashboards": {"grafanaDashboard": True}},
        {"runbookUrl": "runbook.md"},
        {"enabled": "yes"},
        {"global": {"imageRegistry": 1}},
        {"namespaceOverride": "Identity"},
        {"commonLabels": {"a": 1}},
        {"roleMappings": {"api": {"RoleARN": "a"}}},
        {"roleMappings": {"a/api": "arn:aws:iam::111122223333:role/a"}},
        {"containerCredentials": [{"namespace": "a"}]},
        {"service": {"trafficDistribution": "Close"}},
        {"hostAliases": [{"hostnames": ["a"]}]},
        {"dnsConfig": {"nameserver": []}},
        {"startupProbe": {"httpGet": {}}},
        {"initContainers": [{"name": "a"}]},
        {"autoscaling": {"maxReplicas": 0}},
        {"autoscaling": {"targetCPUUtilizationPercentage": 80}},
        {"checks": {"audit": {"schedule": "daily"}}},
        {"checks": {"doctor": {"enabled": True}}},
        {"test": {"serviceAccount": "api"}},
    ],
    ids=str,
)
def test_the_schema_rejects(typo):
    with pytest.raises(helm_python.HelmValuesError):
        render(typo)


def empty_by_default(values, path=()):
    """The paths of values that are an empty mapping or list."""
    for key, value in values.items():
        if value in ({}, []):
            yield (*path, key)
        elif isinstance(value, dict):
            yield from empty_by_default(value, (*path, key))


ENABLED = {
    "webhook": {
        "autoscaling": {"enabled": True},
        "checks": {"certificateAuthorities": {"configMap": "a"}, "oidcVerify": {"enabled": True}, "audit": {"enabled": True}},
        "dashboards": {"enabled": True, "grafanaDashboard": {"enabled": True}},
        "networkPolicy": {"enabled": True, "egress": {"enabled": True}},
        "prometheusRule": {"enabled": True},
        "requirePodIdentity": {"enabled": True},
        "serviceMonitor": {"enabled": True},
    },
    "policy": {"mode": "policy"},
}


@pytest.mark.parametrize("enabled", ENABLED.values(), ids=ENABLED)
def test_null_is_the_same_as_empty(enabled):
    expected = render(enabled).objects
    for path in empty_by_default(default_values()):
        values = copy.deepcopy(enabled)
        parent = values
        for key in path[:-1]:
            parent = parent.setdefault(key, {})
        parent[path[-1]] = None
        assert render(values).objects == expected, ".".join(path)
