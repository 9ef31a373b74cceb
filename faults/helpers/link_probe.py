"""A caller of the harness's own on a faulted link: what it sees of latency, loss, resets and a model's confidence.

It sends the manifest's `links.NAME.probe` through the proxy, and before the injection past it. Its address tells the
proxy not to count it, so that a link that nobody uses is still one without requests.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent
from gevent import socket

from harness.contracts import Link, TargetError
from harness.loopback import PROBE_ADDRESS
from harness.model import Effect, Undo
from harness.primitives.restore_address import OP as RESTORE_ADDRESS

LENGTH = struct.Struct("!I")
PROBE_EVERY_S = 0.25
ANSWER_LIMIT_S = 5.0
LOST_AFTER_S = 0.5
BURST = 20  # messages at a time, of which some may be lost
BASELINE = 3
SIGMAS = 3.0


class LinkProbe:
    """*kind*: delay (ms), lost (%), reset (%) or confidence (points less than past the proxy, at *field*).

    Its error follows from how far answers past the proxy differ, and from the *jitter* that was asked for, never from
    what comes through: a proxy that is fair to every second request only must not look like one that varies.
    """

    def __init__(self, link: Link, upstream: str, undo: Undo, kind: str, field: str = "", jitter: float = 0.0) -> None:
        if not link.probe or link.framing != "u32be":
            raise LookupError(f"the manifest has no links.{link.name}.probe with a framing that is known")
        body = json.dumps(dict(link.probe)).encode()
        self.frame = LENGTH.pack(len(body)) + body
        self.field = field
        self.address = next(one["ours"] for one in undo.primitives if one["op"] == RESTORE_ADDRESS).strip()
        self.also_names: Mapping[str, str] = {}
        self.error = 0.0
        self.values: list[tuple[float, float, int]] = []  # value, when it was asked, how many probes it is of
        self.attained_s = 0.0
        past = sorted(self._past(upstream, kind) for _ in range(BASELINE))
        self.before = past[BASELINE // 2]
        self.variance = sum((one - self.before) ** 2 for one in past) / BASELINE
        self.jitter = jitter
        ask: dict[str, Callable[[], tuple[float, int] | None]] = {
            "delay": self._delay,
            "lost": self._lost,
            "reset": self._reset,
            "confidence": self._confidence,
        }
        self.ask = ask[kind]
        self.share = kind in ("lost", "reset")
        self._greenlet: gevent.Greenlet | None = None
        self._told = 0

    def _past(self, upstream: str, kind: str) -> float:
        took_ms, answer = self._once(upstream)
        if answer is None:
            raise TargetError(f"{upstream} does not answer a probe")
        return _at(answer, self.field) if kind == "confidence" else took_ms if kind == "delay" else 0.0

    # What a probe sees

    def _once(self, address: str) -> tuple[float, dict[str, Any] | None]:
        start_s = time.monotonic()
        sock = _dialled(address)
        try:
            sock.sendall(self.frame)
            answer = _answer(sock)
        finally:
            sock.close()
        return 1000 * (time.monotonic() - start_s), answer

    def _delay(self) -> tuple[float, int] | None:
        took_ms, answer = self._once(self.address)
        return (took_ms - self.before, 1) if answer is not None else None

    def _confidence(self) -> tuple[float, int] | None:
        answer = self._once(self.address)[1]
        return (self.before - _at(answer, self.field), 1) if answer is not None else None

    def _reset(self) -> tuple[float, int] | None:
        broken = 0
        for _ in range(BURST // 4):
            try:
                broken += self._once(self.address)[1] is None
            except OSError:
                broken += 1
        return 100.0 * broken / (BURST // 4), BURST // 4

    def _lost(self) -> tuple[float, int] | None:
        sock = _dialled(self.address)
        answered = 0
        try:
            sock.settimeout(LOST_AFTER_S)
            sock.sendall(self.frame * BURST)
            while answered < BURST and _answer(sock) is not None:
                answered += 1
        except OSError:
            pass
        finally:
            sock.close()
        return 100.0 * (BURST - answered) / BURST, BURST

    # contracts.Witness

    def _run(self) -> None:
        while True:
            start_s = time.monotonic()
            try:
                value = self.ask()
            except OSError:
                value = None
            if value is not None:
                self.values.append((value[0], start_s, value[1]))
            gevent.sleep(PROBE_EVERY_S)

    def sample(self, effect: Effect) -> float | None:
        if self._greenlet is None:
            self._greenlet = gevent.spawn(self._run)
        fresh, self._told = self.values[self._told :], len(self.values)
        return sum(one[0] for one in fresh) / len(fresh) if fresh else None

    def attained(self) -> None:
        self.attained_s = time.monotonic()

    def ended(self) -> None:
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def mean(self) -> float | None:
        seen = self.values[: self._told]  # what came after the last look may have been let go by the heal
        mine = [(value, number) for value, at_s, number in seen if at_s >= self.attained_s]
        count = sum(number for _, number in mine)
        if not count:
            return None
        mean = sum(value * number for value, number in mine) / count
        if self.share:
            part = min(max(mean / 100, 1 / count), 1 - 1 / count) if 0 < mean < 100 else 0.0
            self.error = 100 * SIGMAS * (part * (1 - part) / count) ** 0.5
        else:
            of_jitter = self.jitter**2 / 3  # evenly spread
            self.error = SIGMAS * (self.variance / BASELINE + (self.variance + of_jitter) / count) ** 0.5
        return mean

    def also(self) -> Mapping[str, float]:
        return {}

    def finish(self, effect: Effect) -> None:
        self.ended()


def _dialled(address: str) -> Any:
    kind, _, where = address.partition(":")
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(ANSWER_LIMIT_S)
        sock.connect(where)
        return sock
    host, _, port = where.rpartition(":")
    return socket.create_connection((host, int(port)), ANSWER_LIMIT_S, (PROBE_ADDRESS, 0))


def _answer(sock: Any) -> dict[str, Any] | None:
    """The next whole message; None when the connection ends before."""
    head = _exactly(sock, LENGTH.size)
    body = _exactly(sock, LENGTH.unpack(head)[0]) if head is not None else None
    if body is None:
        return None
    found = json.loads(body)
    return found if isinstance(found, dict) else {}


def _exactly(sock: Any, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            return None
        data += piece
    return data


def _at(told: Any, path: str) -> float:
    for part in path.split("."):
        told = told[part]
    return float(told)
