"""A run ends in the middle of a fault, heals first, and is inconclusive: whatever the reason."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import gevent
import pytest

from harness.hosts import Permit
from harness.metrics import UNITS
from harness.model import Kind, Verdict
from harness.plan import Options, build_plan
from harness.process import process_state, read_process
from harness.record import Record
from harness.run import Run
from harness.scenario import load_file
from harness.traffic import RequestRow
from harness.undo_log import NAME, read_undo_log
from tests.contract.victims import Victim
from tests.fake_target import target

pytestmark = pytest.mark.timeout(60)
PAUSE = "scenario_id: ends\nfaults:\n  - {type: kernel_pause, params: {target: victim, pause_seconds: 60}}\n"
ROUTES = [
    {"name": "GET /work", "method": "GET", "path": "/work", "kernels": ["victim"]},
    {"name": "GET /still", "method": "GET", "path": "/still", "kernels": []},
]
ENDED_S = 2.0


@pytest.fixture(autouse=True)
def _not_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust patches its processes, so that a nap lets others run; this one is not patched."""
    monkeypatch.setattr("harness.observers.loop_lag.worst_lag_ms", lambda: gevent.sleep(0.4) or 1.0)


@pytest.fixture
def victim() -> Iterator[Victim]:
    one = Victim()
    yield one
    one.child.kill()
    one.child.wait()


def paused(folder: Path, victim: Victim, more: str = "") -> Run:
    """A run with a process stopped; its baseline was never measured, which is all the same to what ends it."""
    (folder / "victim.pid").write_text(f"{victim.child.pid}\n")
    (folder / "mine.yaml").write_text(PAUSE + more)
    known = target(folder, processes={"victim": {"pid_file": str(folder / "victim.pid")}}, routes=ROUTES)
    plan, faults = build_plan(load_file(folder / "mine.yaml")[0], known, Options(seed=1), UNITS)
    run = Run(plan, faults, known, folder / "out" / "ends" / "now", {"repeat": ""})
    run.begin()
    run.conductor.start(run.clock.now_s())
    run._enter("faults")
    ticked(run, lambda: process_state(victim.child.pid) == "T", 10.0)
    return run


def ticked(run: Run, until: Callable[[], bool], limit_s: float) -> float:
    """How long it took until *until* held, with the run ticking meanwhile."""
    began_s = time.monotonic()
    while not until():
        assert time.monotonic() - began_s < limit_s, "it did not come to that in time"
        run.tick()
        gevent.sleep(0.02)
    return time.monotonic() - began_s


def is_over(run: Run, victim: Victim, reason: str) -> None:
    """Healed when it was told of, and judged inconclusive."""
    ticked(run, lambda: run.done and process_state(victim.child.pid) != "T", ENDED_S)
    kinds = [event.kind for event in run.journal.events]
    assert kinds.index(Kind.FAULT_HEALED) < kinds.index(Kind.RUN_ABORTED), "healed first"
    told = {event.kind: event.detail for event in run.journal.events}
    assert told[Kind.FAULT_HEALED]["verified"] and told[Kind.FAULT_ENDED]["ended_by"] == "halt"
    assert reason in told[Kind.RUN_ABORTED]["reason"]
    guardian = run.guardian.pid
    assert run.settle() is Verdict.INCONCLUSIVE
    assert reason in str(run.findings) and read_process(guardian) is None
    assert read_undo_log(run.folder / NAME).open == {}
    sealed = run.journal.events[-1]
    assert sealed.kind is Kind.RUN_SEALED and {"plan.json", "requests.csv", NAME} <= set(sealed.detail["sha256"])
    assert Record.load(run.folder).altered == {}
    (run.folder / "requests.csv").write_text("")
    assert Record.load(run.folder).altered == {"requests.csv": "changed"}


def test_the_guardian_is_killed_alone(tmp_path: Path, victim: Victim) -> None:
    run = paused(tmp_path, victim)
    os.kill(run.guardian.pid, signal.SIGKILL)
    is_over(run, victim, "the guardian is lost")


def test_the_guardian_stands_still(tmp_path: Path, victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told from a dead one by nothing but its silence, and is not left behind to heal once more some day."""
    monkeypatch.setattr("harness.guardian_link.ANSWER_LIMIT_S", 0.5)
    run = paused(tmp_path, victim)
    os.kill(run.guardian.pid, signal.SIGSTOP)
    is_over(run, victim, "the guardian is lost")


@pytest.mark.parametrize(("what", "reason"), [("memory", "9 MB of memory are free"), ("disk", "9 MB of the disk are")])
def test_a_floor_is_broken_while_a_fault_is_in_force(
    tmp_path: Path, victim: Victim, monkeypatch: pytest.MonkeyPatch, what: str, reason: str
) -> None:
    run = paused(tmp_path, victim)
    monkeypatch.setattr(f"harness.run.free_{what}_mb", lambda *_: 9.0)
    is_over(run, victim, reason)


def test_a_permit_comes_to_its_end(tmp_path: Path, victim: Victim) -> None:
    run: Any = paused(tmp_path, victim)
    far = Permit(host="far.test", owner="Ada", expires=date.today())
    run.target = replace(run.target, permits=(far,))
    run.tick()
    assert not run.done, "until the end of the day"
    run.target = replace(run.target, permits=(replace(far, expires=date(2026, 1, 1)),))
    is_over(run, victim, "the permit for far.test, given by Ada, ended on 2026-01-01")


def test_what_attacks_meet_stops_nothing_and_what_users_meet_does(tmp_path: Path, victim: Victim) -> None:
    run = paused(tmp_path, victim, "stop_when: [failure_percent > 50]\n")

    def failed(user: str) -> None:
        run.add_rows([RequestRow(run.clock.now_s(), user, "GET /work", "failed", 500, 30, ((5, 30),))])
        run.tick()

    failed("htm_flood")
    assert not run.done, "a target that refuses an attack is well"
    failed("legitimate")
    is_over(run, victim, "stop condition 'failure_percent > 50' (failure_percent 100)")


def test_a_stop_condition_holds(tmp_path: Path, victim: Victim) -> None:
    run = paused(tmp_path, victim, "stop_when: [faults_in_force > 0 for 0.5s]\n")
    is_over(run, victim, "stop condition 'faults_in_force > 0 for 0.5s' (faults_in_force 1)")
