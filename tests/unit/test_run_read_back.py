"""The end of a run: what the target holds is read back, and who asks for the end meanwhile has it soon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gevent
import pytest

from harness.clock import Clock
from harness.contracts import LedgerPage
from harness.journal import Journal
from harness.ledger import LedgerWriter, read_ledger
from harness.model import Event, Kind
from harness.run import LAST_LOOK_S, Run
from harness.state_taker import StateTaker
from tests.drafts import PaperTarget, mf01_plan
from tests.fake_target import FakeServer, as_json, serving

pytestmark = pytest.mark.timeout(30)
ROW = {"at_s": 1.0, "user": "htm_flood", "kind": "intent", "id": "r-1", "valid": True, "flaw": "", "attempts": 1}
PAGE = LedgerPage(url="/intents?since={next}", rows="intents")


def run_of(folder: Path, server: FakeServer) -> Any:
    """A run that has come to its end: one intent was accepted, and the load has stopped."""
    (folder / "target").mkdir()
    (folder / "ledger.jsonl").write_text(json.dumps({**ROW, "outcome": "accepted", "status": 200}) + "\n")
    run: Any = object.__new__(Run)  # what a run is made of besides needs a whole target
    run.plan, run.folder, run.phase, run.clock = mf01_plan(), folder, "done", Clock()
    run.target = PaperTarget(base_url=server.base_url, ledgers={"intents": PAGE})
    run.journal = Journal(folder, run.clock)
    run.reading, run.enough = False, ""
    run.state = StateTaker(run.target, folder, run.clock, lambda: bool(run.enough), lambda reading: None)
    return run


def told(run: Any) -> Event:
    found: Event = next(event for event in run.journal.events if event.kind is Kind.READ_BACK)
    return found


def held(server: FakeServer, status: str) -> None:
    rows = [{"intent_id": "r-1", "status": status, "executions": 1}]
    server.answers["/intents"] = lambda path: as_json({"intents": rows if path.endswith("=0") else [], "next": 1})


def test_it_is_told_when_it_began_and_the_target_is_looked_at_once_more(tmp_path: Path) -> None:
    with serving() as server:
        held(server, "completed")
        run = run_of(tmp_path, server)
        before_s = run.clock.now_s()
        run._read_back()
    event = told(run)
    began_s = event.detail["began_s"]
    assert before_s - 0.01 <= began_s <= event.at_s - LAST_LOOK_S + 0.01, (
        "the depth of its queue is seen after its last work"
    )
    assert (event.detail["rows"], event.detail["problems"], event.detail["interrupted"]) == (1, [], "")
    assert (tmp_path / "target" / "intents.jsonl").exists()


def test_an_abort_meanwhile_ends_it_soon_and_is_told(tmp_path: Path) -> None:
    with serving() as server:
        held(server, "executing")
        run = run_of(tmp_path, server)
        gevent.spawn_later(0.7, lambda: run.reading and run.abort("interrupted"))
        run._read_back()
    event = told(run)
    assert event.at_s - event.detail["began_s"] < 5.0 and event.detail["interrupted"] == "interrupted"
    assert event.detail["problems"] == ["ledger intents could not be read: it was interrupted"]
    assert not run.reading and not [one for one in run.journal.events if one.kind is Kind.RUN_ABORTED]
    run.abort("too late")
    assert run.enough == "interrupted", "what comes when all is read changes nothing"


def test_a_probe_that_changes_state_is_in_the_ledger(tmp_path: Path) -> None:
    run: Any = object.__new__(Run)
    run.ledger, run.clock = LedgerWriter(tmp_path), Clock()
    asked = {"method": "POST", "data": b"{}", "status": 200, "retry_after": False, "content": b"{}", "begun_s": 1.0}
    for path in ("/api/governance/check", "/api/chat"):
        run._asked({**asked, "path": path})
    run.ledger.close()
    rows = read_ledger(tmp_path, [])
    assert rows is not None and [(row.user, row.kind) for row in rows] == [("probe", "decision")]
