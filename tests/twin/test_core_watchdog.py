"""The kernel watchdog decides from what it is shown, at the time that it is told."""

from __future__ import annotations

import pytest

from twin.config import Thresholds
from twin.safeguards.kernel_watchdog import KernelLife, KernelWatchdog

LIMITS = Thresholds()
NOW_S = 1000.0


def life(**changes: object) -> KernelLife:
    made = KernelLife("librarian", state="running", pid=7, started_s=NOW_S - 60, last_beat_s=NOW_S - 0.4)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def verdicts(one: KernelLife, now_s: float = NOW_S) -> list[tuple[str, str]]:
    return [(verdict.reason, verdict.action) for verdict in KernelWatchdog(LIMITS).tick(now_s, [one])]


def test_a_fresh_heartbeat_is_left_alone() -> None:
    assert verdicts(life()) == []
    assert verdicts(life(last_beat_s=NOW_S - LIMITS.heartbeat_missed_s)) == []


def test_a_missed_heartbeat_asks_for_a_restart() -> None:
    assert verdicts(life(last_beat_s=NOW_S - LIMITS.heartbeat_missed_s - 0.01)) == [("heartbeat missed", "restart")]


def test_a_process_that_is_gone_is_not_waited_for() -> None:
    assert verdicts(life(gone=True)) == [("process gone", "restart")]
    assert verdicts(life(gone=True, state="starting", last_beat_s=None)) == [("process gone", "restart")]


def test_a_start_has_its_own_limit() -> None:
    young = life(state="starting", last_beat_s=None, started_s=NOW_S - LIMITS.kernel_start_limit_s)
    assert verdicts(young) == []
    assert verdicts(young, NOW_S + 0.1) == [("no first heartbeat", "restart")]


@pytest.mark.parametrize("state", ["restarting", "quarantined", "stopped", "failed"])
def test_what_should_not_run_is_left_alone(state: str) -> None:
    assert verdicts(life(state=state, gone=True)) == []


def test_the_fourth_time_within_the_window_is_the_quarantine() -> None:
    recent = [NOW_S - 200, NOW_S - 100, NOW_S - 10]
    assert verdicts(life(gone=True, restarts=recent[1:])) == [("process gone", "restart")]
    assert verdicts(life(gone=True, restarts=recent)) == [("process gone", "quarantine")]
    later = NOW_S - 200 + LIMITS.restart_budget_window_s
    assert verdicts(life(gone=True, restarts=recent), later) == [("process gone", "restart")]
