"""What the harness wrote into the target's own log: there, lost, changed, breaking the chain, or come too early."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from harness import catalog
from harness.deeds import deeds
from harness.model import Kind, Verdict
from tests.checks.test_ledger_checks import Change, both, same
from tests.drafts import END
from tests.ledgers import World, chained, world

PASS, FAIL, UNSURE = Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE
WRITTEN_S = END - 0.4


def sent_of(world: World) -> list[dict[str, Any]]:
    """What the harness has to send of this story: what its timeline tells by then."""
    with TemporaryDirectory() as folder:
        record = world.record(Path(folder))
    known = [event for event in record.events if event.at_s < WRITTEN_S]
    return deeds(record.plan, "r", known, {"harness_version": "9"})


def added(world: World, rows: list[dict[str, Any]]) -> None:
    """What the log holds since the last reading; its chain is sound."""
    before = world.held["audit"]
    world.held["audit_after"] = chained([*before, *rows])[len(before) :]


def held(one: dict[str, Any], **changes: Any) -> dict[str, Any]:
    row = {**one, "payload": json.dumps(one["payload"]), "actor": "auditor", "subsystem": "external"}
    return {**row, "reference": f"auditor/{one['reference']}", **changes}


def written(world: World) -> None:
    world.draft.add(END - 0.6, Kind.READ_BACK, world.draft.plan.scenario_id, "run", rows=0, problems=[])
    world.draft.signals = [row for row in world.draft.signals if row[0] < END - 0.6]
    entries = sent_of(world)
    told = {"began_s": END - 0.5, "actor": "auditor", "entries": entries, "added": len(entries)}
    world.draft.add(WRITTEN_S, Kind.DEEDS_LOGGED, world.draft.plan.scenario_id, "run", **told)
    added(world, [held(one) for one in entries])


def sent(world: World) -> list[dict[str, Any]]:
    """What was sent, as the journal has it."""
    (row,) = [one for one in world.draft.events if one.kind is Kind.DEEDS_LOGGED]
    return list(row.detail["entries"])


def lost(world: World) -> None:
    added(world, [held(one) for one in sent(world)[:-1]])


def twice(world: World) -> None:
    added(world, [held(one) for one in (*sent(world), sent(world)[0])])


def changed(**changes: Any) -> Change:
    return lambda world: added(world, [held(sent(world)[0], **changes), *(held(one) for one in sent(world)[1:])])


def others_between(world: World) -> None:
    first, *rest = sent(world)
    added(world, [held(first), held(first, actor="governance", reference="d9"), *map(held, rest)])


def says(change: Callable[[list[dict[str, Any]]], object]) -> Change:
    """The harness sent otherwise than the timeline tells, and the log has what was sent."""

    def act(world: World) -> None:
        entries = copy.deepcopy(sent(world))
        change(entries)
        world.draft.change(Kind.DEEDS_LOGGED, world.draft.plan.scenario_id, entries=entries)
        added(world, [held(one) for one in entries])

    return act


def ended_otherwise(world: World) -> None:
    """The timeline was made another one after the entries were sent."""
    world.draft.change(Kind.FAULT_ENDED, "kernel_pause", ended_by="plan")


def broken(world: World) -> None:
    world.held["audit_after"][1]["previous_hash"] = "0" * 64


def forked(world: World) -> None:
    """Appended to another log than was read before: sound in itself."""
    world.held["audit_after"] = chained([held(one) for one in sent(world)])


def rewritten(world: World) -> None:
    world.held["audit"][2]["result"] = "deny"


def judged_by(world: World) -> None:
    """The last reading of the verdict has one of its own entries."""
    first, *rest = sent(world)
    world.held["audit"] = chained([*world.held["audit"], held(first)])
    added(world, [held(one) for one in rest])


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
    (NAME, WRITTEN, PASS, "7 entries of auditor, each once in a chain of 15"),
    (NAME, both(WRITTEN, others_between), PASS, "each once in a chain of 16"),
    (NAME, both(WRITTEN, says(lambda told: told.pop(0))), UNSURE, "of 7 deeds that the timeline tells 1 were not sent"),
    (NAME, both(WRITTEN, says(lambda told: told.pop())), UNSURE, "1 were not sent (r/run)"),
    (NAME, both(WRITTEN, says(lambda told: told.__delitem__(slice(6)))), UNSURE, "6 were not sent"),
    (NAME, both(WRITTEN, says(lambda told: told[0].update(resource="cpu"))), UNSURE, "1 were sent otherwise"),
    (NAME, both(WRITTEN, says(lambda told: told[5].update(result="lost"))), UNSURE, "1 were sent otherwise"),
    (NAME, both(WRITTEN, says(lambda told: told[1]["payload"].update(fault="x"))), UNSURE, "1 were sent otherwise"),
    (NAME, both(WRITTEN, says(lambda told: told.append({**told[0], "reference": "r/99"}))), UNSURE, "are none of it"),
    (NAME, both(WRITTEN, ended_otherwise), UNSURE, "were sent otherwise"),
    (NAME, both(WRITTEN, lost), FAIL, "1 entries were taken and are not there (r/run)"),
    (NAME, both(WRITTEN, twice), FAIL, "stand there more than once"),
    (NAME, both(WRITTEN, changed(result="refused")), FAIL, "stand there otherwise"),
    (NAME, both(WRITTEN, changed(payload='{"seed":9}')), FAIL, "stand there otherwise"),
    (NAME, both(WRITTEN, changed(actor="governance")), FAIL, "are not of auditor"),
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
