"""A kernel that a fault struck is excused until it is well again, and is a bystander like any other afterwards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.model import Finding, Kind, Verdict
from harness.strikes import GRACE_S, UNPROBED_S, overlap_s, spans, spared_rows
from tests.checks.test_bystanders import draft, unheard
from tests.drafts import BACK, END, INJECTED, KNOWLEDGE, PAUSE_END, RECOVERED, RESTARTED, Draft

STRUCK = "memory_fusion"
FAIL, PASS = Verdict.FAIL, Verdict.PASS
PROC = "processes"


def check(name: str, made: Draft, folder: Path, **args: object) -> Finding:
    found: Finding = catalog.build_check(name, name, args).check(made.record(folder))
    return found


def failing(made: Draft, since_s: float, until_s: float) -> None:
    """The route of the struck kernel fails for users and probes."""
    made.requests = [
        replace(r, outcome="failed", status=500) if r.name == KNOWLEDGE and since_s <= r.at_s < until_s else r
        for r in made.requests
    ]
    made.signals = [
        (a, n, s, 0.0 if (n, s) == ("route_up", KNOWLEDGE) and since_s <= a < until_s else v)
        for a, n, s, v in made.signals
    ]


def change(made: Draft, at_s: float, **detail: object) -> None:
    made.add(at_s, Kind.KERNEL_CHANGED, STRUCK, PROC, **detail)


def dies(made: Draft, at_s: float, until_s: float) -> None:
    change(made, at_s, what="state", **{"from": "running", "to": "gone"}, pid=0)
    change(made, until_s, what="process", old_pid=5151, pid=6161)


def test_a_strike_lasts_until_the_successor_has_answered_and_a_grace(tmp_path: Path) -> None:
    record = draft().record(tmp_path)
    ((since_s, until_s),) = spans(record, (STRUCK,))
    assert since_s == INJECTED - 1 and until_s == 12.0 + GRACE_S  # the first probe after BACK
    assert BACK < 12.0 and spans(record, ("sandbox",)) == [] and spans(record, ("rogue_kernel",)) == []
    assert {row.name for row in spared_rows(record, INJECTED, 16.0) if row.name == KNOWLEDGE} == set()
    later = [row for row in spared_rows(record, INJECTED, END) if row.name == KNOWLEDGE]
    assert later and min(row.at_s for row in later) > until_s


def test_a_strike_without_an_end_or_a_good_answer_lasts_to_the_end(tmp_path: Path) -> None:
    never = draft()
    failing(never, INJECTED, END + 1)
    assert spans(never.record(tmp_path / "never"), (STRUCK,))[0][1] == END
    gone = draft()
    gone.drop(Kind.KERNEL_CHANGED, STRUCK)
    change(gone, 10.0, what="state", to="gone")
    assert spans(gone.record(tmp_path / "gone"), (STRUCK,))[0][1] == END
    change(gone, 20.0, what="process", old_pid=1, pid=2)
    assert spans(gone.record(tmp_path / "late"), (STRUCK,))[0][1] == 20.0 + GRACE_S
    held = draft()
    held.drop(Kind.FAULT_ENDED, "kernel_pause").drop(Kind.FAULT_HEALED, "kernel_pause")
    assert spans(held.record(tmp_path / "held"), (STRUCK,))[0][1] == END
    unseen = draft().silence("route_up", KNOWLEDGE)
    assert spans(unseen.record(tmp_path / "unseen"), (STRUCK,))[0][1] == pytest.approx(PAUSE_END + 0.05 + UNPROBED_S)


def test_time_in_several_stretches_is_counted_once() -> None:
    assert overlap_s(0.0, 10.0, [(-5.0, 2.0), (1.0, 3.0), (8.0, 20.0)]) == 5.0
    assert overlap_s(0.0, 10.0, []) == 0.0


def test_a_second_death_by_itself_is_a_bystanders(tmp_path: Path) -> None:
    made = draft()
    dies(made, 22.0, 26.0)
    found = check("no_cascading_failure", made, tmp_path)
    assert (found.verdict, found.code) == (FAIL, "no_cascading_failure.bystander_changed") and STRUCK in found.because
    early = draft()
    dies(early, RESTARTED + 2.0, RESTARTED + 2.5)  # it may have been struck so late
    assert check("no_cascading_failure", early, tmp_path / "early").verdict is PASS


@pytest.mark.parametrize(("since_s", "until_s", "red"), [(22.0, 26.0, True), (9.0, 11.5, False), (12.5, 16.5, False)])
def test_its_routes_are_bystanders_once_it_is_well(tmp_path: Path, since_s: float, until_s: float, red: bool) -> None:
    made = draft()
    failing(made, since_s, until_s)
    found = check("bystanders_unharmed", made, tmp_path / "all")
    assert (found.verdict, found.code) == (
        (FAIL, "bystanders_unharmed.route_failing") if red else (PASS, "bystanders_unharmed.shown")
    ), found.because
    found = check("no_cascading_failure", made, tmp_path / "cascade")
    assert found.verdict is (FAIL if red else PASS), found.because
    assert found.code == f"no_cascading_failure.{'bystander_routes_failed' if red else 'shown'}"


def test_a_single_failure_of_its_route_afterwards_is_no_share(tmp_path: Path) -> None:
    made = draft()
    last = max(row.at_s for row in made.requests if row.name == KNOWLEDGE)
    made.requests = [
        replace(row, outcome="failed", status=500, count=1) if (row.name, row.at_s) == (KNOWLEDGE, last) else row
        for row in made.requests
    ]
    assert check("no_cascading_failure", made, tmp_path).verdict is PASS


def test_users_are_served_by_all_routes_once_they_are_well(tmp_path: Path) -> None:
    for since_s, until_s, verdict in ((20.0, 26.0, FAIL), (9.0, 11.5, PASS)):
        made = draft()
        made.requests = [replace(row, count=5, latency_ms=((9, 5),)) for row in made.requests]
        failing(made, since_s, until_s)
        found = check("api_responsive", made, tmp_path / str(since_s))
        assert found.verdict is verdict, found.because


def test_errors_of_its_routes_are_not_graceful_once_it_is_well(tmp_path: Path) -> None:
    for since_s, until_s, verdict in ((17.5, 19.0, FAIL), (9.0, 11.5, PASS)):
        made = draft()
        made.change(Kind.FAULT_ENDED, "cpu_spike", at_s=20.0)
        made.requests = [replace(row, latency_ms=((9, row.count),)) for row in made.requests]
        failing(made, since_s, until_s)
        found = check("graceful_degradation", made, tmp_path / str(since_s))
        assert found.verdict is verdict, found.because


@pytest.mark.parametrize(
    ("since_s", "until_s", "code"),
    [(8.0, END, "actor_cut_off"), (18.0, 24.5, "actor_cut_off"), (20.0, END, "not_released"), (8.0, 20.0, "shown")],
)
def test_it_is_heard_on_the_bus_once_it_is_well(tmp_path: Path, since_s: float, until_s: float, code: str) -> None:
    made = draft()
    unheard(STRUCK, since_s, until_s)(made)
    assert check("bystanders_unharmed", made, tmp_path).code == f"bystanders_unharmed.{code}"


def test_a_route_or_a_kernel_that_fails_after_the_recovery_is_a_relapse(tmp_path: Path) -> None:
    fails = draft()
    failing(fails, RECOVERED + 2.0, RECOVERED + 3.5)
    silent = draft()
    unheard(STRUCK, 8.0)(silent)
    for name, made, words in (("route", fails, KNOWLEDGE), ("bus", silent, STRUCK)):
        found = check("recovery_within_limit", made, tmp_path / name)
        assert (found.verdict, found.code) == (FAIL, "recovery_within_limit.relapse"), found.because
        assert words in found.because and any(place.startswith("signals.csv:") for place in found.evidence)
    once = draft()
    failing(once, RECOVERED + 2.0, RECOVERED + 2.5)
    assert check("recovery_within_limit", once, tmp_path / "once").verdict is PASS


def test_a_fault_of_a_link_strikes_no_process(tmp_path: Path) -> None:
    made = draft()
    steps = tuple(
        replace(one, type="network_latency", target="api_server->memory_fusion", kernels=()) if one.kernels else one
        for one in made.plan.steps
    )
    made.plan = replace(made.plan, steps=steps)
    record = made.record(tmp_path)
    assert len(spans(record, (STRUCK,))) == 1 and spans(record, (STRUCK,), process=True) == []
    assert check("no_cascading_failure", made, tmp_path / "killed").code == "no_cascading_failure.bystander_changed"
    made.drop(Kind.KERNEL_CHANGED, STRUCK)
    assert check("no_cascading_failure", made, tmp_path / "well").verdict is PASS
