"""What a worker of a distributed run does: it loads and attacks, and tells the master what it counted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from typing import Any

import gevent

from harness.console import say
from harness.gates import ATTACK, Attackers, Kinds
from harness.observers.loop_lag import worst_lag_ms
from harness.sinks import Sinks
from harness.traffic import RequestRow
from harness.worker_clock import CLOCK, answer

ROWS = "grace_rows"  # the message that carries them
USER_SIGNALS = ("present", "started", "waiting", "idle_s")  # of sinks.Activity, each a signal users_NAME
ORPHAN_S = 5.0  # a master that lives is heard every second


def read(
    told: Mapping[str, Any], to_run: Callable[[float], float]
) -> tuple[list[tuple[str, float, float]], list[RequestRow]]:
    """What a worker has sent, in the time of the run (*to_run* of its own): samples (name, at_s, value) and its rows.

    It gives its own times: a saturated worker tells late of what was then.
    """
    at_s, rows = to_run(told["at_s"]), told["rows"]
    samples = [("worker_requests", at_s, float(sum(row[5] for row in rows)))]
    samples += [(f"users_{name}", at_s, float(told["activity"][name])) for name in USER_SIGNALS]
    samples += [("loop_lag_ms", at_s, float(told["lag_ms"]))] if told["lag_ms"] is not None else []
    return samples, [
        RequestRow(to_run(row_s), user, name, outcome, status, count, tuple((ms, n) for ms, n in spread))
        for row_s, user, name, outcome, status, count, spread in rows
    ]


def in_run_time(row: Mapping[str, Any], to_run: Callable[[float], float]) -> dict[str, Any]:
    """A worker's ledger row in the time of the run."""
    return {**row, **{name: to_run(row[name]) for name in ("at_s", "begun_s") if name in row}}


def listen(environment: Any, take: Any) -> None:
    def on_request(request_type: str, name: str, response_time: float, context: Any, exception: Any, **_: Any) -> None:
        take(request_type, name, response_time, context or {}, exception)

    environment.events.request.add_listener(on_request)


class Reports:
    """Whether the messages of one run's workers are whole: none missing in between, and each one's last there."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._ended: set[str] = set()
        self._gaps: dict[str, int] = {}
        self.activity: dict[str, Mapping[str, float]] = {}  # what each worker's users last told of their requests

    def heard(self, worker: str, told: Mapping[str, Any]) -> None:
        self.activity[worker] = dict(told.get("activity", {}))
        number = int(told["number"])
        expected = self._last.get(worker, number - 1) + 1
        if number != expected:
            self._gaps[worker] = self._gaps.get(worker, 0) + abs(number - expected)
        self._last[worker] = number
        if told["last"]:
            self._ended.add(worker)

    def missing(self) -> str:
        """What is not known of the load, in words; "" when all of it is."""
        words = [f"{count} messages of worker {worker} are missing" for worker, count in sorted(self._gaps.items())]
        silent = sorted(set(self._last) - self._ended)
        words += [f"the last rows of worker {worker} never came" for worker in silent]
        return "; ".join(words)


def orphaned(runner: Any, now_s: float) -> bool:
    """Whether this worker loads a target for a master that is gone; one that is idle may wait for the next."""
    heard_s = getattr(runner, "last_heartbeat_timestamp", None)
    return heard_s is not None and now_s - heard_s > ORPHAN_S and runner.user_count > 0


def work(environment: Any, kinds: Kinds, clock: Callable[[], float] = time.time) -> None:
    """A worker only loads and attacks: it starts no target, fault, guardian or journal.

    About twice a second it sends {number, last, at_s, lag_ms, activity, rows, ledger, prefix, attacks}, with times of
    its own *clock*: how late its event loop is, what its users say of their requests, what it has counted and settled,
    and how far its attacks are. An attack is told
    as shut in the message that brings the last of its rows, or in a later one. The `last` one of a run comes when its
    users have stopped, before Locust tells the master so on the same connection.

    What its clock shows it tells at once to whoever asks: see harness/worker_clock.py.

    An attack does not outlive the master, however that ends: Locust itself would send for a minute more.
    """
    sinks = Sinks(clock)
    sinks.attach(environment)
    attackers = Attackers(environment, kinds)
    numbers = itertools.count(1)

    def tell(lag_ms: float | None, last: bool) -> None:
        attacks = attackers.told()  # before the rows: what it calls settled is in them
        for row in attackers.take_rows():
            sinks.ledger(row)
        rows = [[r.at_s, r.user, r.name, r.outcome, r.status, r.count, r.latency_ms] for r in sinks.take(last)]
        told: dict[str, Any] = {
            "number": next(numbers),
            "last": last,
            "at_s": clock(),
            "lag_ms": lag_ms,
            "rows": rows,
        }
        told["activity"] = sinks.activity.told()
        told |= {"ledger": sinks.take_ledger(), "prefix": attackers.prefix, "attacks": attacks}
        if environment.runner is not None:
            environment.runner.send_message(ROWS, told)

    def send() -> None:
        silent = 0
        while silent < 2:  # once may be this process's own lag: what was sent is not read yet
            tell(worst_lag_ms(), last=False)
            silent = silent + 1 if orphaned(environment.runner, time.time()) else 0
        say(f"the master has not been heard for {ORPHAN_S:g} s: the load ends")
        attackers.shut_all()
        environment.runner.quit()

    def stopped(**_: Any) -> None:
        attackers.shut_all()
        send_stats = getattr(environment.runner, "_send_stats", None)
        if send_stats is not None:  # Locust itself sends them every 3 s, and once more when the worker quits
            send_stats()
        tell(None, last=True)

    listen(environment, sinks.request)
    environment.runner.register_message(ATTACK, lambda msg, **_: attackers.obey(msg.data))
    environment.runner.register_message(
        CLOCK, lambda msg, **_: environment.runner.send_message(CLOCK, answer(msg.data, clock))
    )
    environment.events.test_stop.add_listener(stopped)
    gevent.spawn(send)
