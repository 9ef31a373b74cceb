"""The state before the faults: they wait for its reading a few seconds, and a late one is given up, never used."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gevent
import pytest

from harness.clock import Clock
from harness.contracts import BehaviourQuestion
from harness.run import STATE_WAIT_S, Run
from harness.states import read_state
from harness.target_state import BEFORE, take_state
from tests.drafts import PaperTarget, mf01_plan
from tests.fake_target import Answer, serving
from tests.unit.test_run_read_back import held, run_of

pytestmark = pytest.mark.timeout(30)


def run_with(folder: Path, reading: gevent.Greenlet) -> Any:
    run: Any = object.__new__(Run)  # what a run is made of besides needs a whole target
    run.plan, run.folder, run.clock, run.target, run.enough = mf01_plan(), folder, Clock(), PaperTarget(), ""
    run._state, run._steady_since_s = reading, None
    return run


def test_the_faults_wait_for_the_reading(tmp_path: Path) -> None:
    run = run_with(tmp_path, gevent.spawn(gevent.sleep, 0.05))
    assert not run._state_taken(7.0)
    run._state.join()
    assert run._state_taken(7.1)
    assert not (tmp_path / "state").exists()


def test_a_late_reading_is_given_up(tmp_path: Path) -> None:
    run = run_with(tmp_path, gevent.spawn(gevent.sleep, 60))
    gevent.sleep(0)
    assert not run._state_taken(7.0) and not run._state_taken(7.0 + STATE_WAIT_S - 0.1)
    assert run._state_taken(7.0 + STATE_WAIT_S)
    state = read_state(tmp_path, BEFORE, [])
    assert run._state.dead and state is not None and state.problem("models") is not None


def test_a_steady_baseline_does_not_begin_before_the_reading(tmp_path: Path) -> None:
    run = run_with(tmp_path, gevent.spawn(gevent.sleep, 60))
    begun: list[float] = []
    run.loaded_at_s = run.unwell_at_s = run.phase_at_s = 0.0
    run.cpu, run.rows, run.unwell_because = [(float(n), 5.0) for n in range(9)], [], ""
    run._unsteady = lambda _: ""
    run._steady = lambda traffic, cpu, now_s: begun.append(now_s)
    run._baseline(8.0)
    assert begun == []
    run._state.kill()
    run._baseline(8.2)
    assert begun == [8.2]


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
