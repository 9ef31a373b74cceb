"""What the harness wrote into the target's own log: there, lost, changed, breaking the chain, or come too early."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.deeds import deeds
from harness.model import Kind, Verdict
from tests.checks.test_ledger_checks import Change, both, same
from tests.drafts import END
from tests.ledgers import World, chained, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
SENT = [
    {"action": "inject_fault", "resource": "cpu", "result": "injected", "reference": "r/1", "payload": {"n": 1}},
    {"action": "end_fault", "resource": "cpu", "result": "plan", "reference": "r/2", "payload": {"n": 2}},
    {"action": "run", "resource": "MF01", "result": "came_to_its_end", "reference": "r/run", "payload": {"seed": 7}},
]


def added(world: World, rows: list[dict[str, Any]]) -> None:
    """What the log holds since the last reading; its chain is sound."""
    before = world.held["audit"]
    world.held["audit_after"] = chained([*before, *rows])[len(before) :]


def held(one: dict[str, Any], **changes: Any) -> dict[str, Any]:
    payload = '{"%s":%d}' % next(iter(one["payload"].items()))  # noqa: UP031
    row = {**one, "payload": payload, "actor": "auditor", "subsystem": "external"}
    return {**row, "reference": f"auditor/{one['reference']}", **changes}


def written(world: World, at_s: float = END - 0.4, began_s: float = END - 0.5, **detail: Any) -> None:
    told = {"began_s": began_s, "actor": "auditor", "entries": SENT, "added": 3, **detail}
    world.draft.add(END - 0.6, Kind.READ_BACK, world.draft.plan.scenario_id, "run", rows=0, problems=[])
    world.draft.add(at_s, Kind.DEEDS_LOGGED, world.draft.plan.scenario_id, "run", **told)
    world.draft.signals = [row for row in world.draft.signals if row[0] < END - 0.6]
    added(world, [held(one) for one in SENT])


def lost(world: World) -> None:
    added(world, [held(one) for one in SENT[:2]])


def twice(world: World) -> None:
    added(world, [held(one) for one in (*SENT, SENT[0])])


def changed(**changes: Any) -> Change:
    return lambda world: added(world, [held(SENT[0], **changes), *(held(one) for one in SENT[1:])])


def others_between(world: World) -> None:
    mine = [held(one) for one in SENT]
    added(world, [mine[0], held(SENT[0], actor="governance", reference="d9"), *mine[1:]])


def broken(world: World) -> None:
    world.held["audit_after"][1]["previous_hash"] = "0" * 64


def forked(world: World) -> None:
    """Appended to another log than was read before: sound in itself."""
    world.held["audit_after"] = chained([held(one) for one in SENT])


def rewritten(world: World) -> None:
    world.held["audit"][2]["result"] = "deny"


def judged_by(world: World) -> None:
    """The last reading of the verdict has one of its own entries."""
    world.held["audit"] = chained([*world.held["audit"], held(SENT[0])])
    added(world, [held(one) for one in SENT[1:]])


def unread(name: str) -> Change:
    return lambda world: world.held.pop(name) and None


def looks_on(world: World) -> None:
    world.draft.signals.append((END - 0.3, "cpu_percent", "", 9.0))


def told_later(world: World) -> None:
    world.draft.add(END - 0.2, Kind.ALERT_RAISED, "kernel_watchdog", "control_plane", subject="x")


def early(world: World) -> None:
    world.draft.drop(Kind.READ_BACK)
    world.draft.add(END - 0.1, Kind.READ_BACK, world.draft.plan.scenario_id, "run", rows=0, problems=[])


def instead(**detail: Any) -> Change:
    return lambda world: world.draft.change(Kind.DEEDS_LOGGED, world.draft.plan.scenario_id, **detail) and None


WRITTEN: Change = lambda world: written(world)  # noqa: E731
NAME = "deeds_logged"
CASES: list[tuple[str, Change, Verdict, str]] = [
    (NAME, WRITTEN, PASS, "3 entries of auditor, each once in a chain of 11"),
    (NAME, both(WRITTEN, others_between), PASS, "each once in a chain of 12"),
    (NAME, both(WRITTEN, lost), FAIL, "1 entries were taken and are not there (r/run)"),
    (NAME, both(WRITTEN, twice), FAIL, "stand there more than once"),
    (NAME, both(WRITTEN, changed(result="refused")), FAIL, "stand there otherwise (r/1)"),
    (NAME, both(WRITTEN, changed(payload='{"n":9}')), FAIL, "stand there otherwise (r/1)"),
    (NAME, both(WRITTEN, changed(actor="governance")), FAIL, "are not of auditor (r/1)"),
    (NAME, both(WRITTEN, broken), FAIL, "does not carry the hash of the one before it"),
    (NAME, both(WRITTEN, forked), FAIL, "entry has another number than 9"),
    (NAME, both(WRITTEN, rewritten), FAIL, "entry is not what its hash was made of"),
    (NAME, both(WRITTEN, judged_by), UNSURE, "audit.jsonl:9 is one of its own"),
    (NAME, both(WRITTEN, looks_on), UNSURE, "cpu_percent was still sampled"),
    (NAME, both(WRITTEN, told_later), UNSURE, "alert_raised of kernel_watchdog was still to come"),
    (NAME, both(WRITTEN, early), UNSURE, "what the target holds was not yet read back"),
    (NAME, both(WRITTEN, unread("audit_after")), UNSURE, "could not be read"),
    (NAME, both(WRITTEN, unread("audit")), UNSURE, "could not be read"),
    (NAME, both(WRITTEN, instead(unwritten="/log answers 503")), UNSURE, "not taken: /log answers 503"),
    (NAME, both(WRITTEN, instead(unread="its time was up")), UNSURE, "not read back: its time was up"),
    (NAME, same, UNSURE, "it was not written"),
]


@pytest.mark.parametrize(("check", "change", "expected", "words"), CASES)
def test_check(tmp_path: Path, check: str, change: Change, expected: Verdict, words: str) -> None:
    made = world()
    change(made)
    record = made.record(tmp_path)
    finding = catalog.checks()[check](claim=check).check(record)
    assert (finding.verdict, words in finding.because) == (expected, True), finding


def test_an_entry_for_each_begin_and_end_and_one_for_the_run(tmp_path: Path) -> None:
    record = world().record(tmp_path)
    found = deeds(record.plan, "run-7", record.events, {"harness_version": "9"})
    begun, ended = (len(record.of_kind(kind)) for kind in (Kind.FAULT_INJECTED, Kind.FAULT_ENDED))
    assert [one["action"] for one in found].count("inject_fault") == begun >= 3
    assert [one["action"] for one in found].count("end_fault") == ended >= 3
    assert len({one["reference"] for one in found}) == len(found) == begun + ended + 1
    first = next(one for one in found if one["payload"].get("type") == "acl_flood")
    assert (first["payload"]["run_id"], first["payload"]["seed"]) == ("run-7", record.plan.seed)
    whole = found[-1]
    assert (whole["action"], whole["result"]) == ("run", "came_to_its_end")
    assert whole["payload"]["timeline_head"] == record.events[-1].hash


def test_a_run_that_has_done_nothing_writes_nothing_and_a_cut_one_says_so(tmp_path: Path) -> None:
    draft = world().draft.cut_short(20.0)
    record = draft.record(tmp_path)
    assert deeds(record.plan, "r", record.events, {})[-1]["result"] == "cut_short"
    assert deeds(record.plan, "r", record.of_kind(Kind.RUN_STARTED), {}) == []
