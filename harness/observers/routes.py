"""Asks one route again and again: the life of the kernel that serves it, as a client sees it."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from harness.contracts import Route, Target, View
from harness.loopback import Client, encoded
from harness.model import Kind, Reading
from harness.observers.events import dig

SLOW_MS = 1000.0
SAFE = ("GET", "HEAD", "OPTIONS")  # methods that change nothing
ID_FIELDS = ("intent_id", "retro_id", "knowledge_id")  # of a body: each request gets an id of its own in them


class RouteProbe:
    """route_up, route_deferred and route_latency_ms of one route; an edge when it is down or slow, and when it is well.

    route_answer of one whose manifest says what its answers hold; an answer from a store is not looked at.
    Deferred work (503 with Retry-After) counts as up; route_deferred tells it from work that was done.
    """

    every_s: ClassVar[float] = 1.0

    def __init__(self, target: Target, route: Route) -> None:
        self.route, self.about = route, route.name
        self.client = Client(target.base_url, timeout_s=2.0, permitted=target.permitted)
        self.trouble = ""
        self.mark, self.posts = f"probe-{uuid.uuid4().hex[:12]}", 0
        self.posting, self.silent = False, False
        self.first: dict[str, Any] | None = None  # what the fields that stay the same held at first
        self.whole = True

    def stop_posting(self) -> None:
        """Send no request any more that may change the target's state."""
        self.silent = self.route.method not in SAFE

    @staticmethod
    def instances(target: Target) -> list[RouteProbe]:
        return [RouteProbe(target, route) for route in target.routes if route.witness_of]

    def observe(self, view: View) -> Iterable[Reading]:
        if self.silent:
            self.posting = False
            return
        start_s, begun_at_s = time.monotonic(), view.now_s()
        status, error, deferred, stale, body, sent = 0, "", False, False, b"", self._body()
        self.posting = self.route.method not in SAFE
        try:
            status, headers, body = self.client.send(self.route.method, self.route.path, sent)
            stale = {name.title(): one for name, one in headers.items()}.get("Warning", "").startswith("110")
            deferred = status == 503 and "Retry-After" in {name.title() for name in headers}
            up = 200 <= status < 300 or (deferred and not self._names_a_kernel(body))
        except (OSError, http.client.HTTPException) as problem:
            up, error = False, type(problem).__name__
        latency_ms = 1000 * (time.monotonic() - start_s)
        at_s, name = view.now_s(), self.route.name
        if sent is not None:
            asked = {"method": self.route.method, "path": self.route.path, "data": encoded(sent), "begun_s": begun_at_s}
            answer = {"status": status, "retry_after": deferred, "content": body}
            yield Reading(at_s=at_s, name="asked", subject=name, asked={**asked, **answer})
        self.posting = False
        if 200 <= status < 300 and (self.route.full or self.route.same) and not stale:
            yield from self._answer(at_s, body)
        yield Reading(at_s=at_s, name="route_up", subject=name, value=float(up))
        yield Reading(at_s=at_s, name="route_deferred", subject=name, value=float(up and deferred))
        yield Reading(at_s=at_s, name="route_latency_ms", subject=name, value=latency_ms)
        trouble = "route_down" if not up else "route_slow" if latency_ms > SLOW_MS else ""
        if trouble != self.trouble:
            detail = {
                "what": trouble or "route_back",
                "route": name,
                "status": status,
                "error": error,
                "latency_ms": round(latency_ms),
                "begun_at_s": round(begun_at_s, 3),
            }
            self.trouble = trouble
            kind, subject = Kind.SYMPTOM_SEEN, self.route.witness_of
            yield Reading(at_s=at_s, name="routes", subject=subject, kind=kind, detail=detail)

    def _body(self) -> Mapping[str, Any] | None:
        """The route's body, with an id of its own where it has a field for one."""
        if self.route.body is None:
            return None
        self.posts += 1
        own = {key: f"{self.mark}-{self.posts}" for key in ID_FIELDS if key in self.route.body}
        return {**self.route.body, **own}

    def _answer(self, at_s: float, body: bytes) -> Iterable[Reading]:
        """route_answer: 1 for an answer that holds what the manifest says; an edge when it no longer does."""
        try:
            told = json.loads(body)
        except (ValueError, RecursionError):
            told = None
        held = {name: dig(told, name) for name in (*self.route.full, *self.route.same)}
        same = {name: held[name] for name in self.route.same}
        self.first = same if self.first is None else self.first
        empty = [name for name in self.route.full if held[name] in (None, "", [], {})]
        wrong = empty + [name for name in same if same[name] != self.first[name]]
        yield Reading(at_s=at_s, name="route_answer", subject=self.route.name, value=float(not wrong))
        if self.whole == bool(wrong):
            self.whole = not wrong
            what = "route_answer_changed" if wrong else "route_answer_back"
            detail = {
                "what": what,
                "route": self.route.name,
                "fields": wrong,
                "said": body[:200].decode(errors="replace"),
            }
            kind, subject = Kind.SYMPTOM_SEEN, self.route.witness_of
            yield Reading(at_s=at_s, name="routes", subject=subject, kind=kind, detail=detail)

    def _names_a_kernel(self, body: bytes) -> bool:
        """Whether an answer says that one of the route's kernels is away: that is no work deferred by it."""
        try:
            told = json.loads(body)
        except ValueError:
            return False
        return isinstance(told, dict) and told.get("kernel") in self.route.kernels

    def close(self) -> None:
        self.client.close()


OBSERVER = RouteProbe
