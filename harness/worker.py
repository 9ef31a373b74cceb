"""What a worker of a distributed run does: it loads, counts its requests and sends the counts to the master."""

from __future__ import annotations

import time
from typing import Any

import gevent

from harness.traffic import RequestLog

ROWS = "grace_rows"  # the message that carries the counts


def listen(environment: Any, take: Any) -> None:
    def on_request(request_type: str, name: str, response_time: float, context: Any, exception: Any, **_: Any) -> None:
        take(request_type, name, response_time, context or {}, exception)

    environment.events.request.add_listener(on_request)


def work(environment: Any) -> None:
    """A worker only loads: it starts no target, fault, guardian or journal, and sends its counts twice a second."""
    log = RequestLog(time.time)

    def take(request_type: str, name: str, response_time: float, context: Any, exception: Any) -> None:
        outcome = context.get("outcome") or ("failed" if exception else "ok")
        user, status = context.get("user", "legitimate"), context.get("status", 0)
        log.add(user, f"{request_type} {name}", outcome, status, response_time)

    def send() -> None:
        while True:
            gevent.sleep(0.5)
            rows = [[r.at_s, r.user, r.name, r.outcome, r.status, r.count, r.latency_ms] for r in log.take()]
            if rows and environment.runner is not None:
                environment.runner.send_message(ROWS, rows)

    listen(environment, take)
    gevent.spawn(send)
