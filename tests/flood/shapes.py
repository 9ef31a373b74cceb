"""A source that asks the hostile server for its shapes, and what the server says that it has done."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gevent

from tests.flood.hostile import BULKY
from tests.processes import ROOT

BULK_BYTES = 6_000_000  # more than the buffers of two sockets hold


class Server:
    """The hostile server as a process of its own."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "tests.flood.hostile", *words]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self.process.stdout
        self.port = int(self.process.stdout.readline())

    def told(self) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("tell\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer


@contextlib.contextmanager
def hostile(*words: str) -> Iterator[Server]:
    server = Server(*words)
    assert server.process.stdin and server.process.stdout
    try:
        yield server
    finally:
        server.process.stdin.close()
        server.process.wait(timeout=10)
        server.process.stdout.close()


def until(condition: Callable[[], Any], limit_s: float = 30.0) -> None:
    """Lets other greenlets run until *condition* holds; fails after *limit_s*."""
    with gevent.Timeout(limit_s):
        while not condition():
            gevent.sleep(0.01)


def later(seconds: float, function: Callable[[], Any]) -> gevent.Greenlet:
    """Calls *function* after *seconds* by the clock: gevent.spawn_later counts from when the loop last ran."""

    def wait() -> None:
        gevent.sleep(seconds)
        function()

    return gevent.spawn(wait)


class ShapeSource:
    """*total* requests over *names*, in a seeded order; each with an id of its own."""

    name = "POST /"

    def __init__(
        self, names: Sequence[str], total: int, *, first: int = 0, seed: int = 0, method: str = "POST"
    ) -> None:
        order = [names[number % len(names)] for number in range(total)]
        random.Random(seed).shuffle(order)
        self.method = method
        self.left = [(name, first + number) for number, name in enumerate(order)]
        self.under_way = 0
        self.settled = not self.left
        self.answers: Counter[tuple[str, int, int]] = Counter()  # shape, status, length
        self.lost_why: Counter[tuple[str, str]] = Counter()

    def name_of(self, token: tuple[str, int]) -> str:
        return f"{self.method} /{token[0]}"

    def take(self, now_ns: int) -> tuple[tuple[str, int], bytes] | None:
        if not self.left:
            return None
        token = self.left.pop()
        self.under_way += 1
        body = b"y" * (BULK_BYTES if token[0] in BULKY else 10) if self.method == "POST" else b""
        words = f"{self.method} /{token[0]}/{token[1]} HTTP/1.1\r\nHost: x\r\n"
        return token, (words + f"Content-Length: {len(body)}\r\n\r\n").encode() + body

    def answered(self, token: Any, status: int, body: bytes, retry_after_s: float | None, latency_ns: int) -> str:
        self._back()
        self.answers[token[0], status, len(body)] += 1
        if 200 <= status < 300:
            return "ok"
        if status == 429:
            return "limited"
        return "shed" if status == 503 and retry_after_s is not None else "failed"

    def lost(self, token: Any, why: str) -> None:
        self._back()
        self.lost_why[token[0], why] += 1

    def _back(self) -> None:
        self.under_way -= 1
        self.settled = not self.left and not self.under_way


def expected(counts: dict[str, int], method: str = "POST") -> dict[tuple[str, str, int], int]:
    """The engine's totals, as the server's own counts say that they must be."""
    found = {}
    for key, count in counts.items():
        name, status, outcome = key.split(" ")
        found[f"{method} /{name}", outcome, int(status)] = count
    return found
