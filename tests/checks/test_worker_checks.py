"""Workers that were replaced, memory that stayed bounded, answers that were not mixed up: green, red and unknown."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.model import Kind, Verdict
from tests.checks.test_ledger_checks import Change, both, holds, not_read, only, same, told
from tests.drafts import END, INJECTED, KERNELS, STARTED_WALL_S
from tests.ledgers import World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
WORKERS = ("htm_worker_1", "htm_worker_2")
REPLACED_S = 14.0


def hit(world: World) -> None:
    """Both workers are held up, replaced, and the pool goes on."""
    world.draft.change(Kind.FAULT_INJECTED, "kernel_pause", workers=list(WORKERS))
    for number, worker in enumerate(WORKERS):
        world.draft.add(
            *(REPLACED_S + number, Kind.KERNEL_CHANGED, worker, "processes"), what="process", old_pid=7, pid=8 + number
        )
    for row in world.held["intents"]:
        row["completed_at"] = STARTED_WALL_S + 20.0


def gone(worker: str) -> Change:
    return lambda world: world.draft.drop(Kind.KERNEL_CHANGED, worker)


def late(worker: str) -> Change:
    return lambda world: world.draft.change(Kind.KERNEL_CHANGED, worker, at_s=INJECTED + 1000.0)


def idle(world: World) -> None:
    """Nothing is finished after the last of them was replaced."""
    for row in world.held["intents"]:
        row["completed_at"] = STARTED_WALL_S + REPLACED_S


def weighed(world: World) -> None:
    """Each kernel has a weight before and after, and the machine's memory was looked at."""
    for kernel in KERNELS:
        world.draft.signals += [(INJECTED - 1, "resident_mb", kernel, 30.0), (END - 4, "resident_mb", kernel, 40.0)]
    assert any(name == "memory_percent" for _, name, _, _ in world.draft.signals)


def grows(kernel: str, resident_mb: float) -> Change:
    return lambda world: world.draft.signals.append((END - 3, "resident_mb", kernel, resident_mb))


def full(percent: float, subject: str = "") -> Change:
    return lambda world: world.draft.signals.append((END - 3, "memory_percent", subject, percent))


def tightened(grown_mb_max: float) -> Change:
    def change(world: World) -> None:
        plan = world.draft.plan
        world.draft.plan = replace(plan, slo=replace(plan.slo, grown_mb_max=grown_mb_max))

    return change


def unweighed(kernel: str) -> Change:
    return lambda world: world.draft.silence("resident_mb", kernel)


def blind(world: World) -> None:
    world.draft.silence("memory_percent")


CASES: list[tuple[str, Change, Verdict, str]] = [
    ("workers_restarted", hit, PASS, "2 replaced, the last 6.9 s after the injection; 6 done since"),
    ("workers_restarted", both(hit, gone("htm_worker_2")), FAIL, "no new process in time for htm_worker_2"),
    ("workers_restarted", both(hit, late("htm_worker_1")), FAIL, "no new process in time for htm_worker_1"),
    ("workers_restarted", both(hit, idle), FAIL, "no work was finished after the last of them was replaced"),
    ("workers_restarted", both(hit, not_read("intents")), UNSURE, "tells nothing of its finished work"),
    ("workers_restarted", same, UNSURE, "no worker was held up or ended"),
    ("no_resource_exhaustion", weighed, PASS, "by 10 MB, at most 64 are allowed"),
    ("no_resource_exhaustion", both(weighed, grows("meta_loop", 400.0)), FAIL, "meta_loop grew most, by 370 MB"),
    ("no_resource_exhaustion", both(weighed, tightened(8.0)), FAIL, "by 10 MB, at most 8 are allowed"),
    ("no_resource_exhaustion", both(weighed, full(97.0)), FAIL, "the machine's memory was full to 97 %"),
    ("no_resource_exhaustion", both(weighed, full(95.0, "target")), FAIL, "the target's memory was full to 95 %"),
    ("no_resource_exhaustion", both(weighed, unweighed("meta_loop")), UNSURE, "the memory of meta_loop was not"),
    ("no_resource_exhaustion", both(weighed, blind), UNSURE, "the machine's memory was not measured"),
    ("no_race_conditions", same, PASS, "4 decisions, each told once and on record as what was asked and answered"),
    ("no_race_conditions", told("run-d1", reference="d0"), FAIL, "2 answers share a decision with another question"),
    ("no_race_conditions", holds("audit", "d1", action="write"), FAIL, "1 of 4 are on record as something else"),
    ("no_race_conditions", told("run-d1", answer="allow"), FAIL, "me|delete|production_database -> allow as"),
    ("no_race_conditions", not_read("audit"), UNSURE, "audit trail was not read"),
    (
        "no_race_conditions",
        lambda world: world.lose("audit", "d1"),
        UNSURE,
        "1 of 4 decisions of the attacks are not on record",
    ),
    ("no_race_conditions", told("run-d1", reference=""), UNSURE, "1 of 4 decisions of the attacks are not on record"),
    ("no_race_conditions", both(told("run-d1", reference="", user="legitimate")), PASS, "3 decisions, each told once"),
    ("no_race_conditions", only(kind="intent"), UNSURE, "no decision was asked for"),
    ("no_race_conditions", lambda world: world.held["audit"].clear(), UNSURE, "none of the decisions is on record"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    made = world()
    change(made)
    finding = catalog.checks()[check](claim=check).check(made.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
