"""A small API server: lists and watches ServiceAccounts as metadata, serves `objects`, and misbehaves on demand."""

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

    def send_garbage(self):
        """Sends something that is not an event."""
        self._send("{]")

    def expire(self):
        """Ends every watch with 410: clients must list again."""
        self._send(json.dumps({"type": "ERROR", "object": status(410)}))

    def end(self):
        """Ends every watch, as an API server does after a while."""
        for watcher in self.watchers:
            watcher.put(None)

    def initial_events(self):
        """All accounts as events, and the bookmark that ends them."""
        items = [object_of(*name, self.revision, annotations) for name, annotations in self.accounts.items()]
        bookmark = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {
            "resourceVersion": str(self.revision), "annotations": {"k8s.io/initial-events-end": "true"}}}
        events = [{"type": "ADDED", "object": item} for item in items] + [{"type": "BOOKMARK", "object": bookmark}]
        return [json.dumps(event) for event in events]

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
        objects = self.api.objects
        if "fieldSelector" in query:
            path = objects.of_collection(url.path)
            self.answer(objects.statuses[path], lambda: self.stream(objects.watch(path)))
        elif "watch" in query:
            self.watch("sendInitialEvents" in query)
        elif url.path in objects.by_path:
            self.answer(objects.statuses[url.path], lambda: self.whole(200, objects.by_path[url.path]))
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

    def watch(self, initial_events):
        """With initial events a watch is a list, and fails as a list does."""
        with self.api.lock:
            if initial_events:
                code = self.api.list_status
            else:
                code, self.api.next_watch_status = self.api.next_watch_status, 200
            lines = queue.Queue()
            if code == 200:
                for line in self.api.initial_events() if initial_events else []:
                    lines.put(line)
                self.api.watchers = [*self.api.watchers, lines]
        if code != 200:
            return self.whole(code, status(code))
        self.stream(lines)

    def answer(self, code, well):
        """Answers normally, or with another status code."""
        well() if code == 200 else self.whole(code, status(code))

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
            self.wfile.write(b"0\r\n\r\n")
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
