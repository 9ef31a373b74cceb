"""What the safeguards of the gateway and of the workers decide, from times and readings that the test gives them."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from tests.processes import wait_for
from twin.config import Thresholds
from twin.insistence import Insistence
from twin.rpc import KernelError
from twin.safeguards.intent_validator import DOMAINS, IntentValidator
from twin.safeguards.queue_pressure_monitor import QueuePressureMonitor
from twin.safeguards.rate_limiter import CLIENTS_MAX, RateLimiter
from twin.safeguards.thread_timeout import Interrupted, ThreadTimeout
from twin.safeguards.worker_watchdog import WorkerLife, WorkerWatchdog

LIMITS = Thresholds()
INTENT: dict[str, Any] = {"intent_id": "i", "goal": "g", "expected_outcome": "o", "created_by": "c", "sla_ms": 1}


def test_who_insists_is_told_of_once_and_released_when_quiet() -> None:
    watch = Insistence(count=3, within_s=1.0, quiet_s=5.0)
    assert [watch.saw(at_s, "a") for at_s in (0.0, 0.9, 1.1, 1.2, 1.3)] == [False, False, False, True, False]
    assert watch.quiet(6.2) == {} and list(watch.quiet(6.3)) == ["a"] and watch.quiet(99.0) == {}
    assert [watch.saw(at_s, "a") for at_s in (100.0, 100.1, 100.2)] == [False, False, True], "it may begin again"


def test_who_insists_slowly_or_in_company_does_not_count() -> None:
    watch = Insistence(count=3, within_s=1.0, quiet_s=5.0)
    assert not any(watch.saw(0.6 * n, "a") for n in range(50))
    assert not any(watch.saw(100.0 + n / 1000, f"client-{n}") for n in range(50))


def test_a_bounded_number_is_remembered() -> None:
    watch = Insistence(count=2, within_s=1e6, quiet_s=5.0, subjects_max=3)
    assert not any(watch.saw(float(n), f"{n}") for n in range(4))
    assert not watch.saw(5.0, "0"), "it has been forgotten"
    assert watch.saw(6.0, "3")


def test_one_that_insisted_before_a_restart_is_released_too() -> None:
    watch = Insistence(count=3, within_s=1.0, quiet_s=5.0)
    watch.resume(10.0, "a")
    assert not watch.saw(11.0, "a") and watch.quiet(15.9) == {} and list(watch.quiet(16.0)) == ["a"]


def test_a_client_may_send_its_burst_and_then_its_rate() -> None:
    limiter = RateLimiter(LIMITS)
    assert sum(limiter.wait_s(0.0, "a") == 0 for _ in range(1000)) == LIMITS.client_burst
    assert limiter.wait_s(0.0, "b") == 0, "another client has a bucket of its own"
    allowed = sum(limiter.wait_s(0.1 + n / 1000, "a") == 0 for n in range(10_000))
    assert abs(allowed - LIMITS.client_rate_per_s * 10.1) <= 2
    wait_s = limiter.wait_s(10.1, "a")
    assert 0 < wait_s <= 1 / LIMITS.client_rate_per_s
    assert limiter.wait_s(10.1 + wait_s + 1e-6, "a") == 0


def test_the_limiter_remembers_a_bounded_number_of_clients() -> None:
    limiter = RateLimiter(LIMITS)
    for n in range(CLIENTS_MAX + 10):
        limiter.wait_s(0.0, f"{n}")
    assert len(limiter._buckets) == CLIENTS_MAX


def flaw(**changes: Any) -> str:
    """The field that is refused; "" for none. A change to None takes the field away."""
    body = {key: value for key, value in {**INTENT, **changes}.items() if value is not None}
    try:
        IntentValidator.check(body)
    except KernelError as error:
        assert (error.status, error.error) == (422, "invalid_field") and error.detail["expected"]
        return str(error.detail["field"])
    return ""


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("intent_id", [None, "", 7, "x" * 101, ["i"], "\ud800"]),
        ("goal", [None, "", {}, "x" * 2001]),
        ("expected_outcome", [None, 0.5]),
        ("created_by", [None, True]),
        ("sla_ms", [None, -1, 0, "1000", True, 1e12, float("nan"), [1]]),
        ("priority", [4, "HIGH", True, 5.0, -1, [5], {}]),
        ("domain", ["elsewhere", 3, ["query"], ""]),
        ("risk_level", ["extreme", 1]),
        ("confidence", [-0.1, 1.1, "high"]),
        ("context", [[], "x", 1]),
    ],
)
def test_every_way_to_be_no_intent_is_refused_by_its_field(field: str, values: list[Any]) -> None:
    assert [flaw(**{field: value}) for value in values] == [field] * len(values)


def test_every_intent_that_is_one_passes() -> None:
    good: list[dict[str, Any]] = [{}, {"context": {"a": [1]}}, {"confidence": 0}, {"risk_level": "critical"}]
    good += [{"priority": n} for n in (0, 1, 3, 5, 8, 10)] + [{"domain": name} for name in DOMAINS]
    good += [{"intent_id": "x" * 100}, {"goal": "Grüße 🙂"}, {"sla_ms": 86_400_000}, {"further": "field"}]
    assert [flaw(**one) for one in good] == [""] * len(good)


def watched(depths: list[int], every_s: float = 0.25) -> list[tuple[float, bool]]:
    monitor, found = QueuePressureMonitor(LIMITS), []
    for n, depth in enumerate(depths):
        change = monitor.tick(n * every_s, depth, depth)
        found += [(n * every_s, change.engaged)] if change else []
    return found


def test_a_deep_queue_engages_at_its_figure_and_is_released_when_low_for_a_while() -> None:
    assert watched([249] * 50) == []
    assert watched([0, 250, 250]) == [(0.25, True)]
    assert watched([250] + [101] * 50) == [(0.0, True)]
    assert watched([250] + [100] * 8) == [(0.0, True)], "not for long enough"
    assert watched([250] + [100] * 9) == [(0.0, True), (2.25, False)]
    assert watched([250] + [100] * 7 + [101] + [100] * 9) == [(0.0, True), (4.25, False)], "it starts anew"


def test_a_peak_between_two_looks_is_seen() -> None:
    change = QueuePressureMonitor(LIMITS).tick(0.0, 3, 400)
    assert change and change.engaged and change.details["depth"] == 400


def life(**changes: Any) -> WorkerLife:
    return WorkerLife("w", **{"pid": 9, "last_beat_s": 100.0, **changes})


@pytest.mark.parametrize(
    ("one", "reason"),
    [
        (life(), ""),
        (life(busy_since_s=96.1), ""),
        (life(busy_since_s=96.0), "nothing completed for 4 s"),
        (life(timeouts_in_row=1), ""),
        (life(timeouts_in_row=2), "timed out 2 times in a row"),
        (life(gone=True), "process gone"),
        (life(last_beat_s=96.1), ""),
        (life(last_beat_s=96.0), "no sign of it for 4 s"),
        (life(pid=0, last_beat_s=90.0), "no sign of it"),
    ],
)
def test_the_watchdog_sees_each_way_to_be_of_no_use(one: WorkerLife, reason: str) -> None:
    found = WorkerWatchdog(LIMITS).tick(100.0, [one, life()])
    assert [(each.worker, reason in each.reason) for each in found] == ([("w", True)] if reason else [])


def work_on(timeout: ThreadTimeout, lease: int, ended: list[str]) -> None:
    timeout.begin(lease, 100.0)
    try:
        while True:
            pass
    except Interrupted:
        ended.append("interrupted")


def test_an_endless_loop_is_interrupted_and_not_before_its_time() -> None:
    timeout, ended = ThreadTimeout(2.0), []
    thread = threading.Thread(target=work_on, args=(timeout, 7, ended), daemon=True)
    thread.start()
    wait_for(lambda: timeout.overdue(1e6)[0] == 7, 5)
    assert timeout.overdue(101.9) == (0, 0.0) and timeout.overdue(102.0)[0] == 7
    assert not timeout.interrupt(8), "another piece of work is left alone"
    assert timeout.interrupt(7) and not timeout.interrupt(7)
    thread.join(5)
    assert ended == ["interrupted"] and timeout.overdue(1e6) == (0, 0.0)


def test_time_in_which_the_process_was_away_does_not_count() -> None:
    timeout = ThreadTimeout(2.0)
    timeout.begin(7, 100.0)
    timeout.forgive(30.0)
    assert timeout.overdue(131.9) == (0, 0.0) and timeout.overdue(132.0)[0] == 7


def test_what_has_ended_in_time_is_left_alone() -> None:
    timeout = ThreadTimeout(2.0)
    timeout.begin(7, time.monotonic())
    assert timeout.end(7)
    assert not timeout.interrupt(7) and timeout.overdue(1e12) == (0, 0.0)
    timeout.begin(8, time.monotonic())
    assert not timeout.end(7), "and whoever lost its piece hears of it"
