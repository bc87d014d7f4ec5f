"""Strict validation of objects: Kubernetes' own kinds by its published schemas, custom resources by the schemas here."""

import functools
import json

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils

OLDEST, NEWEST = "1.30", "1.37"

# Kinds younger than the oldest Kubernetes that the chart supports.
SINCE = {"MutatingAdmissionPolicy": "1.36", "MutatingAdmissionPolicyBinding": "1.36"}

# Each call would read megabytes again.
utils.schema_contents = functools.cache(utils.schema_contents)


def validate(obj):
    """Raises if the oldest or the newest Kubernetes would reject the object or drop a field."""
    if obj["kind"] in CUSTOM:
        jsonschema.validate(obj, CUSTOM[obj["kind"]])
        return
    for version in (SINCE.get(obj["kind"], OLDEST), NEWEST):
        validate_once(json.dumps(obj, sort_keys=True), version)


@functools.cache
def validate_once(text, version):
    kubernetes_validate.validate(json.loads(text), version, strict=True)


def closed(required="", /, **properties):
    return {"type": "object", "additionalProperties": False, "required": required.split(), "properties": properties}


def custom(api_version, kind, spec):
    metadata = closed("name namespace", name=STRING, namespace=STRING, labels=STRINGS, annotations=STRINGS)
    return closed(
        "apiVersion kind metadata spec",
        apiVersion={"const": api_version},
        kind={"const": kind},
        metadata=metadata,
        spec=spec,
    )


STRING = {"type": "string", "minLength": 1}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
OBJECTS = {"type": "array", "items": {"type": "object"}}
SELECTOR = closed("matchLabels", matchLabels=STRINGS)
NAMESPACES = closed("matchNames", matchNames={"type": "array", "items": STRING})
ISSUER_REF = closed("name", name=STRING, kind={"enum": ["Issuer", "ClusterIssuer"]}, group=STRING)
ENDPOINT = closed(
    "path",
    port=STRING,
    path=STRING,
    interval=DURATION,
    scrapeTimeout=DURATION,
    honorLabels={"type": "boolean"},
    relabelings=OBJECTS,
    metricRelabelings=OBJECTS,
)
RULE = closed(
    "expr",
    record=STRING,
    alert=STRING,
    expr=STRING,
    labels=STRINGS,
    annotations=STRINGS,
    **{"for": DURATION, "keep_firing_for": DURATION},
)
GROUP = closed(
    "name rules",
    name=STRING,
    interval=DURATION,
    limit={"type": "integer"},
    labels=STRINGS,
    rules={"type": "array", "minItems": 1, "items": RULE},
)

# The fields that the chart and the examples use of these kinds, as in their CustomResourceDefinitions.
CUSTOM = {
    "Issuer": custom(
        "cert-manager.io/v1",
        "Issuer",
        {
            "oneOf": [
                closed("selfSigned", selfSigned={"const": {}}),
                closed("ca", ca=closed("secretName", secretName=STRING)),
            ]
        },
    ),
    "Certificate": custom(
        "cert-manager.io/v1",
        "Certificate",
        closed(
            "secretName issuerRef",
            secretName=STRING,
            issuerRef=ISSUER_REF,
            isCA={"type": "boolean"},
            commonName={"type": "string", "maxLength": 64},
            dnsNames={"type": "array", "items": STRING},
            ipAddresses={"type": "array", "items": STRING},
            usages={"type": "array", "items": {"enum": ["server auth"]}},
            duration=DURATION,
            renewBefore=DURATION,
            privateKey=closed(
                "algorithm size rotationPolicy",
                algorithm={"const": "ECDSA"},
                size={"const": 256},
                rotationPolicy={"const": "Always"},
            ),
        ),
    ),
    "ServiceMonitor": custom(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        closed(
            "selector endpoints",
            selector=SELECTOR,
            namespaceSelector=NAMESPACES,
            endpoints={"type": "array", "items": ENDPOINT},
        ),
    ),
    "PodMonitor": custom(
        "monitoring.coreos.com/v1",
        "PodMonitor",
        closed(
            "selector podMetricsEndpoints",
            selector=SELECTOR,
            namespaceSelector=NAMESPACES,
            podMetricsEndpoints={"type": "array", "items": ENDPOINT},
        ),
    ),
    "PrometheusRule": custom(
        "monitoring.coreos.com/v1", "PrometheusRule", closed("groups", groups={"type": "array", "items": GROUP})
    ),
    "Application": custom(
        "argoproj.io/v1alpha1",
        "Application",
        closed(
            "project source destination",
            project=STRING,
            source=closed(
                "repoURL targetRevision path",
                repoURL=STRING,
                targetRevision=STRING,
                path=STRING,
                helm=closed(valuesObject={"type": "object"}),
            ),
            destination=closed("server namespace", server=STRING, namespace=STRING),
            syncPolicy=closed(
                automated=closed(prune={"type": "boolean"}, selfHeal={"type": "boolean"}),
                syncOptions={"type": "array", "items": STRING},
            ),
        ),
    ),
    "GitRepository": custom(
        "source.toolkit.fluxcd.io/v1",
        "GitRepository",
        closed("interval url", interval=DURATION, url=STRING, ref=closed("branch", branch=STRING)),
    ),
    "HelmRelease": custom(
        "helm.toolkit.fluxcd.io/v2",
        "HelmRelease",
        closed(
            "interval chart",
            interval=DURATION,
            targetNamespace=STRING,
            releaseName=STRING,
            install=closed(createNamespace={"type": "boolean"}),
            test=closed(enable={"type": "boolean"}),
            chart=closed(
                "spec",
                spec=closed("chart sourceRef", chart=STRING, sourceRef=closed("kind name", kind=STRING, name=STRING)),
            ),
            values={"type": "object"},
        ),
    ),
    "GrafanaDashboard": custom(
        "grafana.integreatly.org/v1beta1",
        "GrafanaDashboard",
        closed(
            "instanceSelector configMapRef",
            instanceSelector=SELECTOR,
            allowCrossNamespaceImport={"type": "boolean"},
            folder=STRING,
            configMapRef=closed("name key", name=STRING, key=STRING),
        ),
    ),
}
