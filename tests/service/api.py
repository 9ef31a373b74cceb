"""The API process of the service: answers by itself, or asks the worker whose work it is and waits for 3 s."""

from __future__ import annotations

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.service.pid_file import write_pid

PATIENCE_S = 3.0
OF_WORKERS = {
    ("GET", "/api/knowledge"): ("library", 200),
    ("POST", "/api/htm/intents"): ("planner", 201),
    ("POST", "/api/meta_loop/retrospective"): ("planner", 202),
}


class Api(BaseHTTPRequestHandler):
    """The five routes that legitimate users ask, and /health."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        self._answer("GET", None)

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            self._answer("POST", json.loads(data))
        except ValueError:
            self._send(400, {"error": "not_json"})

    def _answer(self, method: str, body: Any) -> None:
        path = self.path.partition("?")[0]
        own = {
            ("GET", "/health"): {"status": "well"},
            ("POST", "/api/chat"): {"reply": "I see."},
            ("POST", "/api/governance/check"): {"decision": "allow", "allowed": True},
        }
        if (method, path) in own:
            self._send(200, own[method, path])
        elif (method, path) in OF_WORKERS:
            worker, status = OF_WORKERS[method, path]
            self._send(*self._ask(worker, status, {"path": path, "body": body}))
        else:
            self._send(404, {"error": "no_such_route"})

    def _ask(self, worker: str, status: int, question: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        try:
            with socket.socket(socket.AF_UNIX) as way:
                way.settimeout(PATIENCE_S)
                way.connect(str(self.folder / f"{worker}.sock"))
                way.sendall(json.dumps(question).encode() + b"\n")
                answer = way.makefile().readline()
        except TimeoutError:
            return 504, {"error": "late", "worker": worker}
        except OSError:
            return 502, {"error": "away", "worker": worker}
        return (status, json.loads(answer)) if answer else (502, {"error": "away", "worker": worker})

    def _send(self, status: int, content: dict[str, Any]) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps no log of requests."""


class Server(ThreadingHTTPServer):
    """As many connections at a time as come."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    Api.folder = Path(sys.argv[1])
    with Server(("127.0.0.1", int(sys.argv[2])), Api) as server:
        write_pid(Api.folder, "api")
        server.serve_forever()
