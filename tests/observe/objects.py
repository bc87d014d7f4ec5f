"""Objects that are read, watched and written by name: Secret and webhook configuration of a self-managed certificate, ConfigMap of roles."""

import copy
import json
import queue
import threading

import jsonpatch

NAMESPACE = "aws-pod-identity-webhook"
SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/eks-pod-identity-webhook-tls"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/eks-pod-identity-webhook"
CONFIG_MAP = f"/api/v1/namespaces/{NAMESPACE}/configmaps/pod-identity-webhook"


class Objects:
    """Objects by path. Each collection has one object."""

    def __init__(self):
        self.lock = threading.Lock()
        self.revision = 1
        self.by_path = {
            SECRET: {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "eks-pod-identity-webhook-tls", "resourceVersion": "1"}},
            CONFIGURATION: {"kind": "MutatingWebhookConfiguration", "apiVersion": "admissionregistration.k8s.io/v1",
                            "metadata": {"name": "eks-pod-identity-webhook", "resourceVersion": "1"},
                            "webhooks": [{"name": "pod-identity.eks.amazonaws.com", "clientConfig": {"service": {"name": "w"}}}]},
            CONFIG_MAP: {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "pod-identity-webhook", "resourceVersion": "1"}},
        }
        self.watchers = {path: [] for path in self.by_path}
        # Status codes of reads and watches, by path.
        self.statuses = dict.fromkeys(self.by_path, 200)
        # Status codes of the next writes, by path.
        self.refusals = {path: [] for path in self.by_path}

    def of_collection(self, collection):
        """The path of its one object."""
        return next(path for path in self.by_path if path.rsplit("/", 1)[0] == collection)

    def watch(self, path):
        """The events of an object as lines, beginning with its current state."""
        lines = queue.Queue()
        with self.lock:
            lines.put(json.dumps({"type": "ADDED", "object": self.by_path[path]}))
            self.watchers[path].append(lines)
        return lines

    def put_config_map(self, config):
        with self.lock:
            self._put(CONFIG_MAP, copy.deepcopy(self.by_path[CONFIG_MAP]) | {"data": {"config": config}})

    def wipe_ca_bundle(self):
        """Removes the caBundle, as a GitOps tool does that applies a manifest without it."""
        with self.lock:
            wiped = copy.deepcopy(self.by_path[CONFIGURATION])
            wiped["webhooks"][0]["clientConfig"].pop("caBundle", None)
            self._put(CONFIGURATION, wiped)

    def write(self, path, method, body):
        """Applies a PUT or PATCH based on a resourceVersion. Returns the status code, and the object if it changed."""
        with self.lock:
            current = self.by_path[path]
            if self.refusals[path]:
                return self.refusals[path].pop(), None
            if method == "PATCH":
                try:
                    changed = jsonpatch.apply_patch(current, body)
                except jsonpatch.JsonPatchException:
                    return 422, None
            elif body["metadata"]["resourceVersion"] == current["metadata"]["resourceVersion"]:
                changed = body
            else:
                return 409, None
            return 200, self._put(path, changed)

    def _put(self, path, changed):
        self.revision += 1
        changed["metadata"]["resourceVersion"] = str(self.revision)
        self.by_path[path] = changed
        for watcher in self.watchers[path]:
            watcher.put(json.dumps({"type": "MODIFIED", "object": changed}))
        return changed
