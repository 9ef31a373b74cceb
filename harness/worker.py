"""What a worker of a distributed run does: it loads, counts its requests and sends counts and its lag to the master."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gevent

from harness.clock import Clock
from harness.observers.loop_lag import worst_lag_ms
from harness.traffic import RequestLog, RequestRow

ROWS = "grace_rows"  # the message that carries them


def read(told: Mapping[str, Any], clock: Clock) -> tuple[list[tuple[str, float, float]], list[RequestRow]]:
    """What a worker has sent, in the time of the run: samples (name, at_s, value) and its rows.

    It gives its own times: a saturated worker tells late of what was then.
    """
    at_s, rows = clock.from_wall(told["at_s"]), told["rows"]
    counted = float(sum(row[5] for row in rows))
    return [("worker_requests", at_s, counted), ("loop_lag_ms", at_s, float(told["lag_ms"]))], [
        RequestRow(clock.from_wall(row_s), user, name, outcome, status, count, tuple((ms, n) for ms, n in spread))
        for row_s, user, name, outcome, status, count, spread in rows
    ]


def listen(environment: Any, take: Any) -> None:
    def on_request(request_type: str, name: str, response_time: float, context: Any, exception: Any, **_: Any) -> None:
        take(request_type, name, response_time, context or {}, exception)

    environment.events.request.add_listener(on_request)


def work(environment: Any) -> None:
    """A worker only loads: it starts no target, fault, guardian or journal.

    About twice a second it sends {at_s (epoch), lag_ms, rows}: how late its event loop is, and what it has counted.
    """
    log = RequestLog(time.time)

    def take(request_type: str, name: str, response_time: float, context: Any, exception: Any) -> None:
        outcome = context.get("outcome") or ("failed" if exception else "ok")
        user, status = context.get("user", "legitimate"), context.get("status", 0)
        log.add(user, f"{request_type} {name}", outcome, status, response_time)

    def send() -> None:
        while True:
            lag_ms = worst_lag_ms()
            rows = [[r.at_s, r.user, r.name, r.outcome, r.status, r.count, r.latency_ms] for r in log.take()]
            if environment.runner is not None:
                environment.runner.send_message(ROWS, {"at_s": time.time(), "lag_ms": lag_ms, "rows": rows})

    listen(environment, take)
    gevent.spawn(send)
