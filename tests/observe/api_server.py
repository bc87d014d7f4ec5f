"""A small API server: lists and watches ServiceAccounts as metadata, has a ConfigMap and what `objects` keeps, and misbehaves on demand."""

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from objects import Objects


class ApiServer:
    def __init__(self):
        self.lock = threading.Lock()
        self.revision = 1
        self.accounts = {}
        self.watchers = []
        self.objects = Objects()
        self.list_status = 200
        self.next_watch_status = 200
        self.config_map = None
        self.config_map_status = 200
        self.config_map_watchers = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"api": self}))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self):
        return "http://127.0.0.1:%d" % self.server.server_address[1]

    def apply(self, namespace, name, annotations):
        with self.lock:
            kind = "MODIFIED" if (namespace, name) in self.accounts else "ADDED"
            self.accounts[namespace, name] = annotations
            self._publish(kind, self._object(namespace, name))

    def delete(self, namespace, name):
        with self.lock:
            deleted = self._object(namespace, name)
            del self.accounts[namespace, name]
            self._publish("DELETED", deleted)

    def put_config_map(self, config):
        with self.lock:
            kind = "MODIFIED" if self.config_map else "ADDED"
            self.revision += 1
            metadata = {"namespace": "webhook", "name": "pod-identity-webhook", "resourceVersion": str(self.revision)}
            self.config_map = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"config": config}}
            for watcher in self.config_map_watchers:
                watcher.put(json.dumps({"type": kind, "object": self.config_map}))

    def send_garbage(self):
        """Something that is no event."""
        self._send("{]")

    def expire(self):
        """Tells every watch that its history is gone: all have to list anew."""
        self._send(json.dumps({"type": "ERROR", "object": status(410)}))

    def _object(self, namespace, name):
        self.revision += 1
        return object_of(namespace, name, self.revision, self.accounts[namespace, name])

    def _publish(self, kind, item):
        self._send(json.dumps({"type": kind, "object": item}))

    def _send(self, line):
        for watcher in self.watchers:
            watcher.put(line)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api = None

    def do_GET(self):
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if "/configmaps" in url.path:
            self.config_map("watch" in query)
        elif "fieldSelector" in query:
            self.stream(self.api.objects.watch(url.path))
        elif "watch" in query:
            self.watch()
        elif url.path in self.api.objects.by_path:
            self.whole(200, self.api.objects.by_path[url.path])
        else:
            self.list()

    def do_PUT(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        code, written = self.api.objects.write(urlsplit(self.path).path, self.command, body)
        self.whole(code, written or status(code))

    do_PATCH = do_PUT

    def list(self):
        with self.api.lock:
            code = self.api.list_status
            items = [object_of(*name, self.api.revision, annotations) for name, annotations in self.api.accounts.items()]
            body = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": {"resourceVersion": str(self.api.revision)}, "items": items}
        self.whole(code, body if code == 200 else status(code))

    def watch(self):
        with self.api.lock:
            code, self.api.next_watch_status = self.api.next_watch_status, 200
            lines = queue.Queue()
            self.api.watchers = [*self.api.watchers, lines] if code == 200 else self.api.watchers
        if code != 200:
            return self.whole(code, status(code))
        self.stream(lines)

    def config_map(self, is_watch):
        with self.api.lock:
            config_map, lines = self.api.config_map, queue.Queue()
            code = 404 if config_map is None and not is_watch else self.api.config_map_status
            if is_watch:
                self.api.config_map_watchers.append(lines)
        if code != 200 or not is_watch:
            return self.whole(code, config_map if code == 200 else status(code))
        if config_map:
            lines.put(json.dumps({"type": "ADDED", "object": config_map}))
        self.stream(lines)

    def stream(self, lines):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            while (line := lines.get()) is not None:
                data = line.encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def whole(self, code, body):
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


def object_of(namespace, name, revision, annotations):
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {
        "namespace": namespace, "name": name, "uid": f"{namespace}-{name}", "resourceVersion": str(revision), "annotations": annotations}}


def status(code):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
            "reason": "Expired" if code == 410 else "Failure", "message": f"{code} on demand"}
