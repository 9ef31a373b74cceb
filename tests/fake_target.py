"""A target that says exactly what a test wants it to say: a real HTTP server, a manifest, and a clock set by hand."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import AF_INET, AF_INET6
from typing import Any

import yaml

from harness.model import Kind, Reading
from harness.target import ManifestTarget, load_target

BASE: dict[str, Any] = {
    "schema": "grace-target/1",
    "name": "fake",
    "base_url": "http://127.0.0.1:1",
    "processes": {},
    "routes": [
        {
            "name": "GET /work",
            "method": "GET",
            "path": "/work?n=1",
            "kernels": ["api_server", "librarian"],
            "witness_of": "librarian",
        },
        {"name": "POST /unwatched", "method": "POST", "path": "/unwatched", "kernels": ["api_server"]},
    ],
    "safeguards": ["kernel_watchdog"],
    "playbooks": ["kernel_restart"],
    "signals": {
        "kernels": {"url": "/kernels"},
        "events": {"url": "/events?since={next}"},
        "safeguards": {"url": "/safeguards"},
        "metrics": {"url": "/metrics", "counters": {"message_bus.acl_violations": "acl_violations_total"}},
    },
    "event_rules": [
        {"topic": "event.incident", "kind": "safeguard_engaged", "name": "trigger_id", "subject": "subject"},
        {"topic": "playbook.finished", "kind": "playbook_finished", "name": "playbook", "subject": "work.subject"},
    ],
}


def write_manifest(folder: Path, **changes: Any) -> Path:
    path = folder / "target.yaml"
    if (known := changes.get("processes")) and "routes" not in changes:
        changes["routes"] = [_of_known(route, known) for route in BASE["routes"]]
    path.write_text(yaml.safe_dump({**BASE, **changes}, sort_keys=False), encoding="utf-8")
    return path


def _of_known(route: dict[str, Any], processes: dict[str, Any]) -> dict[str, Any]:
    """*route* as far as *processes* serve it."""
    kernels = [one for one in route["kernels"] if one in processes]
    shows = {"witness_of": route["witness_of"]} if route.get("witness_of") in kernels else {}
    return {**{key: value for key, value in route.items() if key != "witness_of"}, "kernels": kernels, **shows}


def target(folder: Path, **changes: Any) -> ManifestTarget:
    return load_target(write_manifest(folder, **changes))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server says to one request. *silent*: it takes the request and says nothing until it is shut."""

    body: bytes = b""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    silent: bool = False


def as_json(content: Any) -> Answer:
    return Answer(body=json.dumps(content).encode())


@dataclass
class FakeServer:
    """answers: path without query, or METHOD and it → an Answer or a function of the path.

    seen: (method, path, peer address, body).

    headers: of the requests in *seen*, in the same order.
    """

    base_url: str
    answers: dict[str, Answer | Callable[[str], Answer]] = field(default_factory=dict)
    seen: list[tuple[str, str, str, bytes]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextlib.contextmanager
def serving(host: str = "127.0.0.1") -> Iterator[FakeServer]:
    shut = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes: without it every answer waits 40 ms

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fake.headers.append(dict(self.headers))
            fake.seen.append((self.command, self.path, self.client_address[0], body))
            path = self.path.partition("?")[0]
            found = fake.answers.get(f"{self.command} {path}") or fake.answers.get(path, Answer(status=404))
            said = found if isinstance(found, Answer) else found(self.path)
            if said.silent:
                shut.wait(30)
                self.close_connection = True
                return
            with contextlib.suppress(OSError):  # the client may hang up on a body that is too long
                self.send_response(said.status)
                for name, value in said.headers:
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.body)))
                self.end_headers()
                self.wfile.write(said.body)

        do_GET = do_POST = do_OPTIONS = answer

        def log_message(self, format: str, *args: Any) -> None:
            """Not on the screen."""

    kind = type("Server", (ThreadingHTTPServer,), {"address_family": AF_INET6 if ":" in host else AF_INET})
    server = kind((host, 0), Handler)
    server.daemon_threads = True
    shown = f"[{host}]" if ":" in host else host
    fake = FakeServer(f"http://{shown}:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        shut.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass
class FakeView:
    """contracts.View with a clock that stands still until a test moves it; its wall clock is the machine's."""

    target: ManifestTarget
    at_s: float = 0.0
    wall_base_s: float = field(default_factory=time.time)

    def now_s(self) -> float:
        return self.at_s

    def from_wall(self, wall_time_s: float) -> float:
        return wall_time_s - self.wall_base_s


def samples(readings: list[Reading], name: str) -> dict[str, float]:
    """{subject: value} of the samples called *name*."""
    return {r.subject: r.value for r in readings if r.kind is None and r.name == name and r.value is not None}


def edges(readings: list[Reading], kind: Kind) -> list[Reading]:
    return [reading for reading in readings if reading.kind is kind]
