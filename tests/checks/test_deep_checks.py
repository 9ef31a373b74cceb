"""The criteria of deep complexity: graceful degradation, survival, a consistent state, playbooks that repeat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import catalog
from harness.model import Kind, Verdict
from harness.traffic import RequestRow
from tests.checks.test_ledger_checks import Change, both, not_read, same
from tests.drafts import CHECK, END, INJECTED, PRESSURE
from tests.ledgers import World, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
WHOLE = {"memory_index": {"valid": True, "entries": 3}}


def answered(at_s: float, outcome: str, status: int, count: int = 3, latency_ms: int = 5) -> Change:
    row = RequestRow(at_s, "legitimate", CHECK, outcome, status, count, ((latency_ms, count),))
    return lambda world: world.draft.requests.append(row)


def starved(world: World) -> None:
    """All that comes during the pressure is told to come again."""
    rows = world.draft.requests
    world.draft.requests = [replace(row, outcome="shed", status=503) if row.at_s > INJECTED else row for row in rows]


def unmeasured(world: World) -> None:
    world.draft.drop(Kind.STEADY_STATE_MET)


def quiet(world: World) -> None:
    """Nobody asked for anything before the faults."""
    world.draft.requests = [row for row in world.draft.requests if row.at_s > INJECTED]


def state(kernel: str, to: str, source: str = "control_plane") -> Change:
    return lambda world: world.draft.add(END - 3, Kind.KERNEL_CHANGED, kernel, source, what="state", to=to)


def pid(kernel: str, value: float) -> Change:
    return lambda world: world.draft.signals.append((END - 2, "kernel_pid", kernel, value))


def present(world: World) -> None:
    for number, kernel in enumerate(world.draft.plan.kernels):
        world.draft.signals.append((1.0, "kernel_pid", kernel, 100.0 + number))


def snapshot(valid: bool) -> Change:
    keys = {"memory_index": {"valid": valid, "entries": 3}}
    about = {"path": "/x/state.json", "from": "a", "sha256": "b", "keys": keys}
    return lambda world: world.draft.add(20.0, Kind.FILE_CHANGED, "state_snapshot", "file_hashes", **about)


def edited(world: World) -> None:
    world.held["audit"][2]["result"] = "deny"


def open_work(world: World) -> None:
    world.of("intents", "run-2")["status"] = "executing"


def expects(*names: str) -> Change:
    def change(world: World) -> None:
        world.draft.plan = replace(world.draft.plan, expected_playbooks=names)

    return change


def again(outcome: str = "succeeded", playbook: str = "resource_pressure_cpu") -> Change:
    """The same playbook for the same incident, once more."""

    def change(world: World) -> None:
        about = {"subject": "cpu", "incident_id": "again"}
        world.draft.add(PRESSURE + 2.0, Kind.PLAYBOOK_STARTED, playbook, "t", **about)
        world.draft.add(PRESSURE + 2.1, Kind.PLAYBOOK_FINISHED, playbook, "t", **about, outcome=outcome)

    return change


CPU = expects("resource_pressure_cpu")
CASES: list[tuple[str, Change, Verdict, str]] = [
    ("graceful_degradation", same, PASS, "% of the baseline's"),
    ("graceful_degradation", starved, FAIL, "% of the baseline's"),
    ("graceful_degradation", answered(15.0, "failed", 500), FAIL, "errors that say nothing"),
    ("graceful_degradation", answered(15.0, "failed", 0), FAIL, "errors that say nothing"),
    ("graceful_degradation", answered(12.0, "ok", 200, 90, 3000), FAIL, "p95 at most 3000 ms"),
    ("graceful_degradation", unmeasured, UNSURE, "there is no baseline"),
    ("graceful_degradation", quiet, UNSURE, "only 0 requests were served in the baseline"),
    ("kernels_survive", present, PASS, "all 20 run at the end"),
    ("kernels_survive", both(present, state("sandbox", "quarantined")), FAIL, "at the end sandbox is quarantined"),
    ("kernels_survive", both(present, pid("sandbox", 0.0)), FAIL, "at the end sandbox is gone"),
    ("kernels_survive", both(present, state("sandbox", "T", "processes")), FAIL, "at the end sandbox is T"),
    ("kernels_survive", same, UNSURE, "nobody saw a process of"),
    ("state_consistent", same, PASS, "no snapshot was written meanwhile"),
    ("state_consistent", snapshot(True), PASS, "1 snapshots whose keys fit"),
    ("state_consistent", both(snapshot(True), snapshot(False)), FAIL, "do not fit their checksums at the end"),
    ("state_consistent", edited, FAIL, "the log: 1 entry is not what its hash was made of"),
    ("state_consistent", lambda world: world.held["audit"].clear(), UNSURE, "the target's log has no entry"),
    ("state_consistent", open_work, FAIL, "the queues: 1 of 6 intents are still open"),
    ("state_consistent", not_read("audit"), UNSURE, "its ledger audit could not be read"),
    ("state_consistent", not_read("intents"), UNSURE, "the queues: "),
    ("playbooks_repeat", both(CPU, again()), PASS, "times carried out: resource_pressure_cpu 2"),
    ("playbooks_repeat", CPU, FAIL, "at least 2 times each asked: resource_pressure_cpu 1"),
    ("playbooks_repeat", both(CPU, again("failed")), FAIL, "1 runs did not succeed"),
    ("playbooks_repeat", expects(), UNSURE, "no playbook is expected"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    made = world()
    made.draft.plan = replace(made.draft.plan, steps=made.draft.plan.steps[:3])  # without the flood of the ledgers
    change(made)
    finding = catalog.checks()[check](claim=check).check(made.record(tmp_path))
    assert (finding.verdict, words in finding.because) == (expected, True), finding
    assert finding.evidence or expected is UNSURE
