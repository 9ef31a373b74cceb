"""The servers that the load benchmark aims at: nginx with a configuration of its own, and one that answers in 50 ms.

Each run has a server of its own, in a temporary folder, on a loopback port, pinned to a core and ended by its pid:
what it has counted is what this run sent.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PATH = "/api/htm/intents"
SLOW_MS = 50
# every request's body is as long as every other's, in every tool: only the id differs
BODY_HEAD = '{"intent_id":"bench-'
BODY_TAIL = (
    '","kind":"compact_memory","priority":"NORMAL","sla_ms":5000,"payload":{"subject":"kernel.memory","pages":64}}'
)
ID_DIGITS = 12
ANSWER = '{"status":"accepted","intent_id":"x"}'
START_LIMIT_S = 10.0
# Debian keeps nginx where only root looks
WHERE = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin"
CONFIG = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
  log_format counted '$msec $status $body_bytes_sent';
  access_log {log};
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ return 200 '{answer}'; }}
    location = /count {{ stub_status; access_log off; }}
  }}
}}
"""


class ServerError(Exception):
    """A server that did not start, or does not tell what it has counted."""


def body(number: int) -> bytes:
    """The intent with this number, as every tool sends it."""
    return f"{BODY_HEAD}{number:0{ID_DIGITS}d}{BODY_TAIL}".encode()


@dataclass(frozen=True)
class Server:
    """*url* takes the POSTs; *pid* is the one process that answers them; *log* (or None) has a line for each answer.

    *knows_bodies*: it tells how many of them it was sent before.
    """

    port: int
    pid: int
    log: Path | None = None
    knows_bodies: bool = False
    questions: list[str] = field(default_factory=list)  # what we have asked it ourselves

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PATH}"

    def served(self) -> int:
        """The requests that it was sent, by its own count, without our own questions."""
        return parse_count(self._get("/count")) - len(self.questions)

    def answer_bytes(self) -> int:
        """How long an answer is, with its head."""
        self.questions.append(PATH)
        sent = body(0)
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Length: {len(sent)}\r\n\r\n"
        try:
            with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
                connection.sendall(head.encode() + sent)
                answer = b""
                while not answer.endswith(ANSWER.encode()):
                    if not (part := connection.recv(65536)):
                        raise ServerError(f"the server on port {self.port} cut its answer: {answer!r}")
                    answer += part
                return len(answer)
        except OSError as error:
            raise ServerError(f"the server on port {self.port} does not answer: {error}") from error

    def repeated(self) -> int:
        """How many of its POSTs had a body that had come before; 0 also when it does not look at them."""
        return int(self._get("/repeated")) if self.knows_bodies else 0

    def _get(self, path: str) -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        self.questions.append(path)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"the server on port {self.port} does not tell what it has counted: {error}") from error
        finally:
            connection.close()

    def flush(self) -> None:
        """What nginx still holds of its log goes to the file."""
        os.kill(self.pid, signal.SIGUSR1)


def parse_count(text: str) -> int:
    """The third number of nginx's stub_status (accepts, handled, requests); this question is in it."""
    lines = text.splitlines()
    for line, numbers in itertools.pairwise(lines):
        if line.split() == ["server", "accepts", "handled", "requests"]:
            return int(numbers.split()[2])
    raise ServerError(f"this is no stub_status: {text[:80]!r}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(core: int | None, command: Sequence[str]) -> list[str]:
    return [*command] if core is None else ["taskset", "--cpu-list", str(core), *command]


def wait_until_open(process: subprocess.Popen[bytes], port: int, said: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
            return
        time.sleep(0.01)
    words = said.read_text(errors="replace").strip() or "it did not become ready in time"
    raise ServerError(f"the server on port {port} did not start: {words}")


@contextlib.contextmanager
def started(command: Sequence[str], port: int, core: int, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """*command* on *core*, once it listens; ended by its pid, also when a stall holds it."""
    said = folder / "server.log"
    with said.open("wb") as errors:
        process = subprocess.Popen(
            pinned(core, command), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, start_new_session=True
        )
    try:
        wait_until_open(process, port, said)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def nginx(folder: Path, core: int, logged: bool = False) -> Iterator[Server]:
    """nginx as one process that answers at once; *logged*: with a line for each answer (time, status, length)."""
    program = shutil.which("nginx", path=WHERE)
    if program is None:
        raise ServerError("nginx is missing; `make bench` installs it")
    port, log = free_port(), folder / "access.log"
    log.unlink(missing_ok=True)
    how = f"{log} counted buffer=64k" if logged else "off"
    config = folder / "nginx.conf"
    config.write_text(CONFIG.format(folder=folder, port=port, log=how, answer=ANSWER), encoding="utf-8")
    command = [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)]
    with started(command, port, core, folder) as process:
        yield Server(port, process.pid, log if logged else None)


@contextlib.contextmanager
def slow(folder: Path, core: int, delay_ms: float = SLOW_MS) -> Iterator[Server]:
    """The server of load_slow.py."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.load_slow", str(port), str(delay_ms)]
    with started(command, port, core, folder) as process:
        yield Server(port, process.pid, knows_bodies=True)
