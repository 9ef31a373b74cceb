"""Waves of rising severity; who clashes with somebody waits for the next of the same severity, and it is told why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.model import Claim, Magnitude
from harness.wave_groups import Group, Member, Wanted, clash
from harness.wave_groups import groups as grouped
from tests.drafts import mf01_plan


def member(name: str, severity: int, subject: str, conflicts: tuple[str, ...] = (), metric: str = "") -> Member:
    whole = mf01_plan()
    step = replace(whole.steps[-1], subject=subject, target=subject, kernels=())
    claims = (Claim(claim=f"{metric} > 1", check="metric", args={"metric": metric}),) if metric else ()
    coverage = {step.step_id: (("kernel_watchdog", "kernel_restart"),)}
    plan = replace(whole, scenario_id=name, steps=(step,), claims=claims, coverage=coverage, subjects={})
    return Member(scenario_id=name, severity=severity, conflicts_with=conflicts, plan=plan)


def groups(members: Sequence[Member], *too_much) -> list[Group]:  # type: ignore[no-untyped-def]
    """Of those that would do the same in every wave."""
    return grouped([Wanted(severity=one.severity, in_wave=lambda _, one=one: one) for one in members], *too_much)


def ids(found: list[Group]) -> list[tuple[int, tuple[str, ...]]]:
    return [(one.severity, one.members) for one in found]


def test_severity_rises_and_what_does_not_clash_runs_at_the_same_time() -> None:
    members = [member("c", 5, "k3"), member("a", 1, "k1"), member("b", 1, "k2"), member("d", 3, "k4")]
    found = groups(members)
    assert ids(found) == [(1, ("a", "b")), (3, ("d",)), (5, ("c",))]
    assert [one.number for one in found] == [1, 2, 3] and not any(one.apart for one in found)


def test_a_conflict_counts_whoever_names_it_and_leads_to_the_next_wave() -> None:
    members = [member("a", 2, "k1"), member("b", 2, "k2", ("a",)), member("c", 2, "k3"), member("d", 2, "k4", ("c",))]
    found = groups(members)
    assert ids(found) == [(2, ("a", "c")), (2, ("b", "d"))]
    assert found[1].apart == {"b": "it conflicts with a", "d": "it conflicts with c"}
    assert clash(members[0], members[1]) == "it conflicts with b"


def test_one_that_two_earlier_waves_do_not_take_says_so_for_each() -> None:
    members = [member("a", 2, "k1"), member("b", 2, "k2", ("a",)), member("c", 2, "k3", ("a", "b"))]
    found = groups(members)
    assert ids(found) == [(2, ("a",)), (2, ("b",)), (2, ("c",))]
    assert found[2].apart == {"c": "it conflicts with a; it conflicts with b"}


def test_the_same_subject_cannot_be_told_apart() -> None:
    assert "b is aimed at librarian too" in clash(member("a", 1, "librarian"), member("b", 1, "librarian"))
    one, other = member("a", 1, "k1"), member("b", 1, "k2")
    names = {one.plan.steps[0].step_id: {"kernel_watchdog": "queue"}}
    pair = [replace(x, plan=replace(x.plan, subjects=names)) for x in (one, other)]
    assert clash(*pair) == "b is seen by kernel_watchdog as queue too"
    assert clash(one, other) == ""


def test_a_measure_that_both_would_move_is_nobody_s() -> None:
    spike = Magnitude(name="cpu", value=90, unit="%", tolerance=5)
    busy = member("a", 1, "k1")
    step = replace(busy.plan.steps[0], asked=spike)
    busy = replace(busy, plan=replace(busy.plan, steps=(step,)))
    peak = member("b", 1, "k2", metric="cpu_usage_peak")
    assert clash(peak, busy) == "cpu_usage_peak would be that of a too"
    assert clash(busy, peak) == "cpu_usage_peak would be that of b too"
    assert clash(peak, member("c", 1, "k3", metric="cpu_usage_peak")) == "cpu_usage_peak would be that of c too"
    assert clash(peak, member("c", 1, "k3", metric="latency_p99")) == ""


def test_too_much_at_once_leads_to_the_next_wave() -> None:
    members = [member(name, 1, f"k{name}") for name in "abcde"]
    found = groups(members, lambda some: "3 faults at once, at most 2" if len(some) > 2 else "")
    assert ids(found) == [(1, ("a", "b")), (1, ("c", "d")), (1, ("e",))]
    assert found[1].apart["c"] == "3 faults at once, at most 2"


def test_a_scenario_is_planned_as_it_will_be_in_the_wave_that_it_is_put_in() -> None:
    """What is drawn follows from the wave: here librarian in the first, which is taken, and sandbox in the second."""
    asked: list[int] = []

    def drawn(wave: int) -> Member:
        asked.append(wave)
        return member("drawn", 2, {1: "librarian", 2: "sandbox", 3: "librarian"}[wave])

    first = Wanted(severity=2, in_wave=lambda _: member("a", 2, "librarian"))
    second = Wanted(severity=2, in_wave=lambda _: member("b", 2, "sandbox", ("a",)))
    found = grouped([first, second, Wanted(severity=2, in_wave=drawn)])
    assert ids(found) == [(2, ("a",)), (2, ("b",)), (2, ("drawn",))] and asked == [1, 2, 3]
    assert found[2].apart["drawn"] == "a is aimed at librarian too; b is aimed at sandbox too"


def test_one_that_has_drawn_what_the_target_lacks_spoils_nobody_s_wave() -> None:
    lacking = member("lacking", 1, "k2")
    lacking = replace(lacking, plan=replace(lacking.plan, not_applicable=("prerequisite '8_cores'",)))
    found = groups([member("a", 1, "k1"), lacking, member("c", 1, "k3")])
    assert ids(found) == [(1, ("a", "c")), (1, ("lacking",))]
    assert found[1].apart == {"lacking": "lacking lacks prerequisite '8_cores'"}
