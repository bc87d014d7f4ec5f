"""What a pod sees of AWS, for tests: STS, the issuer's documents over TLS, and the agent of EKS Pod Identity.

It runs in a network namespace of its own (see `node`), where the names and addresses that SDKs use lead to it. `state.json`, in
the folder that is its argument, describes the AWS accounts. It is read for each request, so that a test can change it.
"""

import http.server
import json
import ssl
import sys
import threading
import urllib.parse
from pathlib import Path

import agent
import sts
from refusal import Refusal

FOLDER = Path(sys.argv[1])


class Handler(http.server.BaseHTTPRequestHandler):
    """One server for all names: the Host header says which is meant."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        host = self.headers["Host"].split(":")[0]
        state = read_state()
        if host == agent.ADDRESS:
            log(host=host, path=self.path)
            return self.reply(agent, self.path, self.headers, state)
        folder = state["issuers"].get(host)
        file = folder and Path(folder, self.path.lstrip("/"))
        if not file or not file.is_file():
            return self.answer(404, "text/plain", "no such document")
        return self.answer(200, "application/json", file.read_text())

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = dict(urllib.parse.parse_qsl(body.decode()))
        log(host=self.headers["Host"], action=request["Action"], session=request.get("RoleSessionName"))
        return self.reply(sts, request, body, self.headers, read_state())

    def reply(self, service, *request):
        try:
            self.answer(200, service.CONTENT_TYPE, service.answer(*request))
        except Refusal as refusal:
            self.answer(refusal.status, service.CONTENT_TYPE, service.error(refusal))

    def answer(self, status, content_type, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Every request has a line of its own already."""


def read_state():
    return json.loads((FOLDER / "state.json").read_text())


def log(**fields):
    print(json.dumps(fields), flush=True)


def main():
    https = http.server.ThreadingHTTPServer(("127.0.0.1", 443), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / "tls.crt", FOLDER / "tls.key")
    https.socket = context.wrap_socket(https.socket, server_side=True)
    plain = http.server.ThreadingHTTPServer((agent.ADDRESS, 80), Handler)
    threading.Thread(target=plain.serve_forever, daemon=True).start()
    log(message="listening")
    https.serve_forever()


if __name__ == "__main__":
    main()
