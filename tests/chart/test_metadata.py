"""Names, namespaces, labels and annotations."""

from cases import CASES
from chart import NAMESPACE, render, rendered

OWN_LABELS = {
    "app.kubernetes.io/name": "eks-pod-identity-webhook",
    "app.kubernetes.io/instance": "eks-pod-identity-webhook",
    "app.kubernetes.io/version": "0.1.0",
    "app.kubernetes.io/managed-by": "Helm",
    "helm.sh/chart": "eks-pod-identity-webhook-0.1.0",
}


def of_the_chart(out):
    """All objects but those of `extraObjects`."""
    return [obj for obj in out.objects if "labels" in obj["metadata"]]


def test_every_object_carries_the_labels(case):
    out = rendered(case)
    extra = len(CASES[case].get("extraObjects", [])) if CASES[case].get("enabled", True) else 0
    assert len(of_the_chart(out)) == len(out.objects) - extra
    own = OWN_LABELS | {"app.kubernetes.io/name": CASES[case].get("nameOverride", OWN_LABELS["app.kubernetes.io/name"])}
    for obj in of_the_chart(out):
        assert own.items() <= obj["metadata"]["labels"].items(), obj["kind"]


def test_labels_and_annotations_of_every_object():
    out = rendered("common-metadata")
    for obj in out.objects + out.hooks:
        metadata = obj["metadata"]
        assert metadata["labels"]["team"] == "platform", obj["kind"]
        assert metadata["annotations"]["example.com/owner"] == "platform", obj["kind"]
        assert metadata["labels"].get("app.kubernetes.io/name") != "never"
    assert out.pod["metadata"]["labels"]["team"] == "platform"
    job = out.the("CronJob")["spec"]["jobTemplate"]["spec"]["template"]
    assert job["metadata"]["labels"]["team"] == "platform"


def test_own_annotations_win_over_common_ones():
    out = rendered("common-metadata")
    assert out.the("Deployment")["metadata"]["annotations"]["a"] == "own"
    assert out.the("Service")["metadata"]["annotations"]["a"] == "common"


def test_labels_and_annotations_of_one_object():
    service = rendered("service").the("Service")["metadata"]
    assert service["labels"] == OWN_LABELS | {"c": "d"} and service["annotations"] == {"a": "b"}
    account = rendered("own-account").the("ServiceAccount")["metadata"]
    assert account["labels"] == OWN_LABELS | {"c": "d"} and account["annotations"] == {"a": "b"}
    assert "annotations" not in rendered("defaults").the("Deployment")["metadata"]


def test_another_namespace_replaces_that_of_the_release():
    out = rendered("other-namespace")
    assert NAMESPACE not in out.text
    assert out.namespace == "identity"
    for binding in out.all("ClusterRoleBinding"):
        assert [subject["namespace"] for subject in binding["subjects"]] == ["identity"]
    (entry,) = out.the("MutatingWebhookConfiguration")["webhooks"]
    assert entry["clientConfig"]["service"]["namespace"] == "identity"
    assert "identity" in entry["namespaceSelector"]["matchExpressions"][0]["values"]
    certificate = next(c for c in out.all("Certificate") if c["metadata"]["name"] == out.full_name)
    assert certificate["spec"]["dnsNames"][0] == f"{out.full_name}.identity.svc"
    assert "namespace identity" in out.notes
    assert render({"namespaceOverride": "identity"}).flags["namespace"] == "identity"


def test_names_follow_the_values():
    out = rendered("names")
    assert out.full_name == "pod-identity"
    assert out.pod["metadata"]["labels"]["app.kubernetes.io/name"] == "identity"
    assert rendered("long-name").full_name == "a" * 45


def test_extra_objects_are_templates():
    a, b = rendered("more-containers").all("ConfigMap")
    assert a["metadata"] == {"name": "a", "namespace": NAMESPACE}
    assert b["metadata"] == {"name": "eks-pod-identity-webhook-b", "namespace": NAMESPACE}
