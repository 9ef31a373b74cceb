"""A kernel that dies once more than it was struck, and retries that are not turned away: green, red and unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.model import Kind, Magnitude, Step, Verdict
from harness.traffic import RequestRow
from tests.checks.test_ledger_checks import Change, both, same
from tests.drafts import CHECK, INJECTED, RESTARTED
from tests.ledgers import World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
STRUCK = "memory_fusion"
STORM = Step(
    step_id="api_flood",
    type="api_flood",
    target="api_server",
    params={"endpoint": CHECK.removeprefix("POST ")},
    at_s=0.0,
    duration_s=0.0,
    asked_duration_s=0.0,
    subject="127.0.0.10",
    asked=Magnitude(name="sent", value=100.0, unit="requests", tolerance=0.0),
    where="x.yaml:1",
)


def dies_again(world: World) -> None:
    detail = {"what": "process", "old_pid": 5151, "pid": 6161, "old_start_ticks": 1600, "start_ticks": 1900}
    world.draft.add(RESTARTED + 1.0, Kind.KERNEL_CHANGED, STRUCK, "processes", **detail)


def stays_dead(world: World) -> None:
    world.draft.add(RESTARTED + 1.0, Kind.KERNEL_CHANGED, STRUCK, "processes", what="state", to="gone", pid=0)


def stands_still(world: World) -> None:
    world.draft.add(RESTARTED + 1.0, Kind.KERNEL_CHANGED, STRUCK, "processes", what="state", to="T")


def unseen(world: World) -> None:
    world.draft.drop(Kind.KERNEL_CHANGED, STRUCK)


def never_struck(world: World) -> None:
    world.draft.drop(Kind.FAULT_INJECTED, "kernel_pause")


def storm(shed: int, failed: int, took_ms: int = 3, at_s: float = INJECTED + 1.0) -> Change:
    """Clients that retry: so many were told to come again, and so many were told nothing of use."""

    def change(world: World) -> None:
        world.draft.plan = replace(world.draft.plan, steps=(*world.draft.plan.steps, STORM))
        rows = [
            ("shed", 503, shed, took_ms),
            ("failed", 504, failed, 2000),
            ("limited", 429, 500, 2),
            ("ok", 200, 9, 5),
        ]
        world.draft.requests += [
            RequestRow(at_s, "governance_storm", CHECK, outcome, status, count, ((ms, count),))
            for outcome, status, count, ms in rows
            if count
        ]

    return change


def late(count: int, took_ms: int, outcome: str = "shed", status: int = 503) -> Change:
    row = RequestRow(INJECTED + 2.0, "governance_storm", CHECK, outcome, status, count, ((took_ms, count),))
    return lambda world: world.draft.requests.append(row)


def unlooked(world: World) -> None:
    world.draft.add(RESTARTED + 1.0, Kind.SIGNAL_LOST, "processes", "watcher", error="/proc is gone")


CASES: list[tuple[str, Change, Verdict, str]] = [
    ("no_second_death", same, PASS, "memory_fusion was struck 1 x and replaced 1 x"),
    ("no_second_death", dies_again, FAIL, "memory_fusion was struck 1 x and replaced 2 x"),
    ("no_second_death", stays_dead, FAIL, "replaced 1 x, and has no process in the end"),
    ("no_second_death", stands_still, FAIL, "replaced 1 x, and stands still in the end"),
    ("no_second_death", unlooked, UNSURE, "nobody looked at /proc to the end"),
    ("no_second_death", both(dies_again, unlooked), FAIL, "replaced 2 x"),
    ("no_second_death", unseen, UNSURE, "no process was seen to change"),
    ("no_second_death", never_struck, UNSURE, "no fault was injected into a kernel"),
    ("retries_refused_cheaply", storm(900, 60), PASS, "900 x 503 with Retry-After, 500 x 429, and 60 failed, 6.2 %"),
    ("retries_refused_cheaply", storm(0, 200), FAIL, "0 x 503 with Retry-After, 500 x 429, and 200 failed, 100.0 %"),
    ("retries_refused_cheaply", storm(79, 21), FAIL, "21.0 % of what was for want of a kernel, at most 20 %"),
    (
        "retries_refused_cheaply",
        storm(900, 0, took_ms=900),
        FAIL,
        "100.0 % of the refusals (503) took more than 250 ms",
    ),
    # 429s that cost nothing do not make up for 503s that do, nor many of either for a few that hang
    ("retries_refused_cheaply", both(storm(40, 0), late(2, 300)), FAIL, "4.8 % of the refusals (503) took more than"),
    ("retries_refused_cheaply", both(storm(900, 0), late(2, 300)), PASS, "the longest retry took 300 ms, at most 3000"),
    ("retries_refused_cheaply", both(storm(900, 0), late(9, 300, "limited", 429)), FAIL, "1.8 % of the refusals (429)"),
    ("retries_refused_cheaply", both(storm(900, 0), late(2, 20_000, "failed", 0)), FAIL, "took 20000 ms, at most 3000"),
    ("retries_refused_cheaply", both(storm(900, 0), late(1, 9000, "ok", 200)), FAIL, "longest retry took 9000 ms"),
    ("retries_refused_cheaply", storm(10, 9), UNSURE, "only 19 answers were for want of a kernel"),
    ("retries_refused_cheaply", storm(900, 60, at_s=INJECTED - 1.0), UNSURE, "only 0 answers"),
    ("retries_refused_cheaply", same, UNSURE, "no kernel was struck while clients asked for it"),
    ("retries_refused_cheaply", both(storm(900, 60), never_struck), UNSURE, "no kernel was struck"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    made = world()
    change(made)
    finding = catalog.checks()[check](claim=check).check(made.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
