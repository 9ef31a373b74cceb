"""What the monitors decide, from readings and times that the test gives them."""

from __future__ import annotations

from typing import Any

import pytest

from twin.config import Thresholds
from twin.safeguards.acl_violation_monitor import AclViolationMonitor, Finding
from twin.safeguards.resource_pressure_monitor import Change, ResourcePressureMonitor

LIMITS = Thresholds()


def refused(count: int, actor: str = "a", control: bool = False, reason: str = "acl") -> dict[str, Any]:
    topic = "system.control" if control else "kernel.memory"
    return {"actor": actor, "topic": topic, "reason": reason, "count": count, "control": control}


def fed(rows: list[tuple[float, dict[str, Any]]]) -> list[Finding]:
    monitor = AclViolationMonitor(LIMITS)
    return [finding for now_s, row in rows for finding in monitor.take(now_s, [row])]


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([(0.0, refused(10))], "spam"),
        ([(0.0, refused(5)), (0.9, refused(5))], "spam"),
        ([(3.0 * n, refused(1)) for n in range(20)], "20 violations"),
        ([(10.0 * n, refused(1, control=True)) for n in range(5)], "control topics"),
    ],
    ids=["ten at once", "ten in a second", "twenty in a minute", "five on control topics"],
)
def test_each_rule_cuts_an_actor_off_at_its_figure(rows: list[tuple[float, dict[str, Any]]], word: str) -> None:
    (finding,) = fed(rows)
    assert finding.actor == "a" and word in finding.reason
    assert fed(rows[:-1]) == [], "one less is not enough"


@pytest.mark.parametrize(
    "rows",
    [
        [(0.0, refused(9))],
        [(0.0, refused(5)), (1.1, refused(5))],
        [(3.2 * n, refused(1)) for n in range(40)],
        [(15.5 * n, refused(1, control=True)) for n in range(12)],
        [(0.0, refused(9, "a")), (0.1, refused(9, "b"))],
    ],
    ids=["nine at once", "ten in more than a second", "nineteen a minute", "four a minute", "two actors"],
)
def test_below_every_figure_nobody_is_cut_off(rows: list[tuple[float, dict[str, Any]]]) -> None:
    assert fed(rows) == []


def test_an_actor_is_cut_off_once_and_released_after_its_last_attempt() -> None:
    monitor = AclViolationMonitor(LIMITS)
    assert [one.actor for one in monitor.take(0.0, [refused(50)])] == ["a"]
    for quarter in range(1, 41):
        assert monitor.take(quarter / 4, [refused(100, reason="blacklisted")]) == []
    last_s = 10.0
    assert monitor.calm(last_s + LIMITS.acl_quiet_s - 0.01) == []
    assert monitor.calm(last_s + LIMITS.acl_quiet_s) == ["a"]
    monitor.release("a")
    assert monitor.calm(1e6) == []
    assert [one.actor for one in monitor.take(60.0, [refused(10)])] == ["a"], "it may be cut off again"


def test_an_incident_that_was_open_before_a_restart_is_released_too() -> None:
    monitor = AclViolationMonitor(LIMITS)
    monitor.engaged.add("a")
    assert monitor.calm(100.0) == []
    assert monitor.take(101.0, [refused(50)]) == [], "no second incident for the same actor"
    assert monitor.calm(101.0 + LIMITS.acl_quiet_s) == ["a"]


def watched(readings: list[tuple[float, float]], resource: str = "cpu") -> list[tuple[float, Change]]:
    """The changes and when they came, from (seconds, percent) at 4 Hz."""
    monitor, changes, now_s = ResourcePressureMonitor(LIMITS), [], 0.0
    for seconds, percent in readings:
        for _ in range(round(seconds * 4)):
            changes += [(now_s, change) for change in monitor.tick(now_s, {resource: percent})]
            now_s += 0.25
    return changes


@pytest.mark.parametrize(("resource", "critical"), [("cpu", 80.0), ("memory", 85.0), ("disk", 90.0)])
def test_pressure_engages_at_the_critical_figure_and_not_below(resource: str, critical: float) -> None:
    ((_, change),) = watched([(5, critical)], resource)
    assert change.engaged and change.resource == resource and change.details["mean_percent"] == critical
    assert watched([(30, critical - 0.1)], resource) == [] or resource == "cpu", "which also heeds its warning"


def test_a_cpu_that_stays_at_its_warning_figure_is_pressure_too() -> None:
    ((at_s, change),) = watched([(10, 40), (20, 75)])
    assert change.engaged and change.details["mean_percent"] == 75 and "a warning from 70 %" in change.reason
    assert 10 + LIMITS.pressure_warning_s <= at_s <= 10 + LIMITS.pressure_warning_s + LIMITS.pressure_mean_s
    assert watched([(10, 40), (5, 75), (10, 40), (5, 75)]) == [], "not for long enough"
    assert watched([(60, 69.9)]) == []
    assert [c.engaged for _, c in watched([(10, 75), (30, 61)])] == [True], "61 % is not low enough after a warning"
    assert [c.engaged for _, c in watched([(10, 75), (10, 60)])] == [True, False]


def test_no_verdict_before_a_full_window() -> None:
    ((at_s, _),) = watched([(5, 100)])
    assert at_s == LIMITS.pressure_mean_s


def test_a_spike_shorter_than_the_window_is_no_pressure() -> None:
    assert watched([(10, 20), (1, 100), (10, 20)]) == []


def test_pressure_is_released_ten_points_below_for_three_seconds() -> None:
    assert [change.engaged for _, change in watched([(5, 95), (30, 71)])] == [True], "71 % is not low enough"
    assert [change.engaged for _, change in watched([(5, 95), (4, 70)])] == [True], "not for long enough"
    (_, on), (at_s, off) = watched([(5, 95), (10, 60)])
    assert on.engaged and not off.engaged
    assert 5 + LIMITS.pressure_release_s <= at_s <= 5 + LIMITS.pressure_mean_s + LIMITS.pressure_release_s


def test_a_relapse_starts_the_wait_again() -> None:
    changes = watched([(5, 95), (3, 50), (2, 95), (20, 50)])
    assert [change.engaged for _, change in changes] == [True, False]
    assert changes[1][0] > 5 + 3 + 2 + LIMITS.pressure_release_s


def test_resources_are_judged_each_by_itself() -> None:
    monitor = ResourcePressureMonitor(LIMITS)
    changes = [c for n in range(20) for c in monitor.tick(n / 4, {"cpu": 99.0, "memory": 10.0, "disk": 95.0})]
    assert [(change.resource, change.engaged) for change in changes] == [("cpu", True), ("disk", True)]
