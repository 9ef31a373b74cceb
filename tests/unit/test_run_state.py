"""The state before the faults: they wait for its reading a few seconds, and a late one is given up, never used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest

from harness.clock import Clock
from harness.contracts import BehaviourQuestion
from harness.ledger import PROBE
from harness.probe_rows import probe_rows
from harness.run import Run
from harness.state_taker import WAIT_S, StateTaker
from harness.states import read_state
from harness.target_state import BEFORE, take_state
from tests.drafts import PaperTarget, mf01_plan
from tests.fake_target import Answer, as_json, serving
from tests.unit.test_run_read_back import held, run_of

pytestmark = pytest.mark.timeout(30)


def taker_with(folder: Path, reading: gevent.Greenlet) -> StateTaker:
    taker = StateTaker(PaperTarget(), folder, Clock(), lambda: False, lambda reading: None)
    taker.reading = reading
    return taker


def test_the_faults_wait_for_the_reading(tmp_path: Path) -> None:
    reading = gevent.spawn(gevent.sleep, 0.05)
    taker = taker_with(tmp_path, reading)
    assert not taker.ready(7.0)
    reading.join()
    assert taker.ready(7.1)
    assert not (tmp_path / "state").exists()


def test_a_late_reading_is_given_up(tmp_path: Path) -> None:
    reading = gevent.spawn(gevent.sleep, 60)
    taker = taker_with(tmp_path, reading)
    gevent.sleep(0)
    assert not taker.ready(7.0) and not taker.ready(7.0 + WAIT_S - 0.1)
    assert taker.ready(7.0 + WAIT_S)
    state = read_state(tmp_path, BEFORE, [])
    assert reading.dead and state is not None and state.problem("models") is not None


def test_a_steady_baseline_does_not_begin_before_the_reading(tmp_path: Path) -> None:
    run: Any = object.__new__(Run)  # what a run is made of besides needs a whole target
    reading = gevent.spawn(gevent.sleep, 60)
    run.plan, run.state = mf01_plan(), taker_with(tmp_path, reading)
    begun: list[float] = []
    run.loaded_at_s = run.unwell_at_s = run.phase_at_s = 0.0
    run.cpu, run.rows, run.unwell_because = [(float(n), 5.0) for n in range(9)], [], ""
    run._unsteady = lambda _: ""
    run._steady = lambda traffic, cpu, now_s: begun.append(now_s)
    run._baseline(8.0)
    assert begun == []
    reading.kill()
    run._baseline(8.2)
    assert begun == [8.2]


def decision() -> BehaviourQuestion:
    body = {"actor": "probe", "action": "read", "resource": "report"}
    return BehaviourQuestion(name="q", method="POST", path="/api/governance/check", body=body)


def test_each_question_before_the_faults_is_in_the_ledger(tmp_path: Path) -> None:
    noted: list[Mapping[str, Any]] = []
    with serving() as server:
        server.answers["/api/governance/check"] = as_json({"decision": "allow", "decision_id": "d1", "audit_id": "a1"})
        target = PaperTarget(base_url=server.base_url, behaviour=(decision(),))
        taker = StateTaker(target, tmp_path, Clock(), lambda: False, noted.append)
        taker.begin()
        assert taker.reading is not None
        taker.reading.join()
        ((_, _, _, sent),) = server.seen
    (row,) = [row for one in noted for row in probe_rows(7.0, one)]
    assert (row["user"], row["kind"], row["outcome"]) == (PROBE, "decision", "accepted")
    assert row["digest"] == hashlib.sha256(sent).hexdigest()


def test_a_question_that_is_broken_off_is_noted_as_unanswered(tmp_path: Path) -> None:
    noted: list[Mapping[str, Any]] = []
    with serving() as server:
        server.answers["/api/governance/check"] = Answer(silent=True)
        target = PaperTarget(base_url=server.base_url, behaviour=(decision(),))
        take_state(target, tmp_path, BEFORE, asked=noted.append, pause=lambda _: None)
    rows = [row for one in noted for row in probe_rows(7.0, one)]
    assert [row["outcome"] for row in rows] == ["unanswered"] * 3


def test_a_reading_that_is_cut_off_leaves_no_file(tmp_path: Path) -> None:
    asked = BehaviourQuestion(name="q", method="GET", path="/q")
    with serving() as server:
        server.answers["/q"] = Answer(status=503)
        target = PaperTarget(base_url=server.base_url, behaviour=(asked,))
        reading = gevent.spawn(take_state, target, tmp_path, BEFORE, pause=gevent.sleep)
        gevent.sleep(0.1)
        assert len(server.seen) == 1, "it waits for its second try"
        reading.kill()
    assert read_state(tmp_path, BEFORE, []) is None


def test_the_state_after_is_read_with_the_ledgers(tmp_path: Path) -> None:
    with serving() as server:
        held(server, "completed")
        run = run_of(tmp_path, server)
        run._read_back()
    state = read_state(tmp_path, "after", [])
    assert state is not None and state.of("problem") == ()
