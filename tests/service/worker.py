"""A worker of the service: answers JSON lines on a unix socket, one connection after another."""

from __future__ import annotations

import json
import socketserver
import sys
from pathlib import Path

from tests.service.pid_file import write_pid

BOOKS = ("a stone", "a leaf", "a scissor")


class Desk(socketserver.StreamRequestHandler):
    """One question, one answer."""

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline() or b"{}")
        answer = {"results": BOOKS} if asked.get("path") == "/api/knowledge" else {"status": "queued"}
        body = asked.get("body") or {}
        answer |= {"id": body["retro_id"]} if "retro_id" in body else {}
        answer |= {"intent_id": body["intent_id"]} if "intent_id" in body else {}
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class Desks(socketserver.ThreadingUnixStreamServer):
    """As many at a time as ask."""

    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    folder, name = Path(sys.argv[1]), sys.argv[2]
    path = folder / f"{name}.sock"
    path.unlink(missing_ok=True)
    with Desks(str(path), Desk) as desks:
        write_pid(folder, name)
        desks.serve_forever()
