"""Asks every process, route and signal of a manifest once, all at the same time, before anything starts."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import signal_shapes
from harness.contracts import Route, TargetError
from harness.ledger import ROUTE_KINDS
from harness.loopback import Client
from harness.observers.routes import SAFE
from harness.signal_shapes import ShapeError
from harness.target import SUPERVISOR, ManifestTarget

LIMIT_S = 3.0  # for all of it
ASK_S = 2.5  # for one answer; a process that is just being replaced may take as long to be there
LOOK_EVERY_S = 0.1
ABSENT = {404: "the target does not have it", 405: "the target does not take this method there", 410: "it is gone"}
ABSENT |= {501: "the target does not know this method"}
GONE = (404, 410)
NO_JSON = b"{"  # no reader of JSON takes it: a route that is there refuses it and does nothing
DENIED = (401, 403)
MISTAKEN = (400, 411, 413, 414, 415, 422)  # what the manifest asks there cannot be asked
Shape = Callable[[bytes], object]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that the manifest says and the target does not bear out.

    *lacks*: the target does not have it, so that it cannot be judged by what needs it; else the manifest is wrong.
    """

    place: str  # "FILE:LINE"
    text: str
    lacks: bool = False

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


class ManifestWrong(TargetError):
    """A manifest that does not fit the target that it describes; the text has a line for each problem."""


def checked(target: ManifestTarget) -> tuple[str, ...]:
    """Return what the target lacks of its manifest, in words. Raises ManifestWrong; takes at most LIMIT_S."""
    found = preflight(target)
    wrong = [str(one) for one in found if not one.lacks]
    if wrong:
        raise ManifestWrong("\n".join(wrong))
    return tuple(str(one) for one in found)


def preflight(target: ManifestTarget) -> list[Problem]:
    """All problems, in the order of the manifest's lines.

    A route that changes what ledgers hold is asked in a way that leaves no work behind, and so is one that has to be
    sent a body and has none in the manifest. A route that does not answer in time is no problem here: the baseline
    tells of it. A signal is one: nobody else would miss what it never told.
    """
    found: list[Problem] = []
    looks = [*_processes(target), *_routes(target), *_signals(target)]
    threads = [threading.Thread(target=_look, args=(target, *look, found), daemon=True) for look in looks]
    end_s = time.monotonic() + LIMIT_S
    for one in threads:
        one.start()
    for one in threads:
        one.join(max(0.0, end_s - time.monotonic()))
    return sorted(found, key=lambda one: (int(one.place.rpartition(":")[2]), one.text))


Look = tuple[str, Callable[[], Problem | None]]  # (key of the manifest, what asks)


def _look(target: ManifestTarget, key: str, look: Callable[[], Problem | None], found: list[Problem]) -> None:
    try:
        problem = look()
    except Exception as error:
        text = f"{key}: it cannot be asked: {type(error).__name__}: {error}"
        problem = Problem(place=_place(target, key), text=text)
    if problem is not None:
        found.append(problem)


def _place(target: ManifestTarget, key: str) -> str:
    return f"{target.file}:{target.lines.get(key, 1)}"


def _processes(target: ManifestTarget) -> Iterator[Look]:
    named = {f"processes.{name}": (name, where) for name, where in target.processes.items()}
    if target.supervisor:
        named[SUPERVISOR] = (SUPERVISOR, target.supervisor)
    for pool, one in target.workers.items():
        named |= {f"workers.{pool}.processes.{name}": (name, where) for name, where in one.processes.items()}
    for key, (name, where) in named.items():
        yield key, lambda key=key, name=name, where=where: _process(target, key, name, where)  # type: ignore[misc]


def _process(target: ManifestTarget, key: str, name: str, where: Mapping[str, str]) -> Problem | None:
    """None when exactly one process is *name* within ASK_S."""
    end_s = time.monotonic() + ASK_S
    while True:
        try:
            target.process(name)
        except TargetError as error:
            why = str(error)
        else:
            return None
        if time.monotonic() >= end_s:
            return Problem(place=_place(target, key), text=f"{key}: {_no_process(where) or why}")
        time.sleep(LOOK_EVERY_S)


def _no_process(where: Mapping[str, str]) -> str:
    """Reason why a pid file names no process; "" for a process that is named by its command line."""
    if "pid_file" not in where:
        return ""
    path = Path(where["pid_file"])
    try:
        text = path.read_text(errors="replace").strip()
    except OSError as error:
        return f"the pid file {path} cannot be read: {error.strerror}"
    return f"the pid file {path} names no living process: {text[:20]!r}"


def _routes(target: ManifestTarget) -> Iterator[Look]:
    for number, route in enumerate(target.routes):
        leaves_work = route.method not in SAFE and (route.body is None or route.path.partition("?")[0] in ROUTE_KINDS)
        look = _is_there if leaves_work else _route
        key = f"routes[{number}]"
        yield key, lambda key=key, route=route, look=look: look(target, key, route)  # type: ignore[misc]


def _is_there(target: ManifestTarget, key: str, route: Route) -> Problem | None:
    """A problem when the target has no such route. Only where OPTIONS does not find it, its own method is asked."""
    for method, body in (("OPTIONS", None), (route.method, NO_JSON)):
        answer = _ask(target, method, route.path, body, ASK_S / 2)
        if answer is None or answer[0] not in GONE:
            return None
        status = answer[0]
    return Problem(
        place=_place(target, key), text=f"{key}: {route.name} answers {status}: {ABSENT[status]}", lacks=True
    )


def _route(target: ManifestTarget, key: str, route: Route) -> Problem | None:
    answer = _ask(target, route.method, route.path, route.body)
    status = answer[0] if answer else 0
    place, what = _place(target, key), f"{key}: {route.name} answers {status}"
    if status in ABSENT:
        return Problem(place=place, text=f"{what}: {ABSENT[status]}", lacks=True)
    if status in DENIED:
        return Problem(place=place, text=f"{what}: the target does not let the harness in", lacks=True)
    if 300 <= status < 400:
        return Problem(place=place, text=f"{what}: the harness follows no redirection; name the place that answers")
    if status in MISTAKEN and route.witness_of:
        return Problem(place=place, text=f"{what}: it cannot show the life of {route.witness_of} by this request")
    return None


def _signals(target: ManifestTarget) -> Iterator[Look]:
    shapes: dict[str, Shape] = {
        "kernels": lambda content: signal_shapes.kernels(_json(content)),
        "events": lambda content: signal_shapes.events(_json(content)),
        "safeguards": lambda content: signal_shapes.engaged(_json(content)),
        "metrics": lambda content: signal_shapes.metrics(content.decode(errors="replace")),
    }
    for name, signal in target.signals.items():
        url = str(signal.get("url", "")).replace("{next}", "0")
        shape = shapes.get(name, _json)
        key = f"signals.{name}"
        yield key, lambda key=key, url=url, shape=shape: _signal(target, key, url, shape)  # type: ignore[misc]


def _signal(target: ManifestTarget, key: str, url: str, shape: Shape) -> Problem | None:
    """None when it answers 2xx in the shape of its kind within ASK_S."""
    end_s, place = time.monotonic() + ASK_S, _place(target, key)
    while True:
        answer = _ask(target, "GET", url, None, max(LOOK_EVERY_S, end_s - time.monotonic()))
        status, content = answer or (0, b"")
        if 0 < status < 500 or status in ABSENT or time.monotonic() + LOOK_EVERY_S >= end_s:
            break
        time.sleep(LOOK_EVERY_S)
    if not status:
        return Problem(place=place, text=f"{key}: {url} gives no answer within {ASK_S:g} s", lacks=True)
    if not 200 <= status < 300:
        lacks = status in ABSENT or status in DENIED or status >= 500
        why = ABSENT.get(status) or (
            "the target does not let the harness in" if status in DENIED else "an answer 2xx is expected"
        )
        return Problem(place=place, text=f"{key}: {url} answers {status}: {why}", lacks=lacks)
    try:
        shape(content)
    except ShapeError as error:
        return Problem(place=place, text=f"{key}: {url}: {error}")
    return None


def _ask(
    target: ManifestTarget, method: str, path: str, body: Mapping[str, Any] | bytes | None, limit_s: float = ASK_S
) -> tuple[int, bytes] | None:
    """(status, body) of the answer; None when none came in time."""
    client = Client(target.base_url, timeout_s=limit_s, permitted=target.permitted)
    try:
        with contextlib.suppress(OSError, http.client.HTTPException):
            status, _, content = client.send(method, path, body)
            return status, content
    finally:
        client.close()
    return None


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise ShapeError("JSON is expected, and the answer is none") from None
