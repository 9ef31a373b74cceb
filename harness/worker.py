"""What a worker of a distributed run does: it loads and attacks, and tells the master what it counted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import gevent

from harness.clock import Clock
from harness.gates import ATTACK, Attackers, Kinds
from harness.observers.loop_lag import worst_lag_ms
from harness.sinks import Sinks
from harness.traffic import RequestRow

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


def work(environment: Any, kinds: Kinds) -> None:
    """A worker only loads and attacks: it starts no target, fault, guardian or journal.

    About twice a second it sends {at_s (epoch), lag_ms, rows, ledger, prefix, attacks}: how late its event loop is,
    what it has counted and settled, and how far its attacks are. An attack is told as shut in the message that
    brings the last of its rows, or in a later one.
    """
    sinks = Sinks(time.time)
    sinks.attach(environment)
    attackers = Attackers(environment, kinds)

    def send() -> None:
        while True:
            lag_ms = worst_lag_ms()
            attacks = attackers.told()  # before the rows: what it calls settled is in them
            for row in attackers.take_rows():
                sinks.ledger(row)
            rows = [[r.at_s, r.user, r.name, r.outcome, r.status, r.count, r.latency_ms] for r in sinks.take()]
            told = {"at_s": time.time(), "lag_ms": lag_ms, "rows": rows, "ledger": sinks.take_ledger()}
            if environment.runner is not None:
                environment.runner.send_message(ROWS, {**told, "prefix": attackers.prefix, "attacks": attacks})

    listen(environment, sinks.request)
    environment.runner.register_message(ATTACK, lambda msg, **_: attackers.obey(msg.data))
    environment.events.test_stop.add_listener(lambda **_: attackers.shut_all())
    gevent.spawn(send)
