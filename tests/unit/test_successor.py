"""A successor that takes over between two looks: when it began, and that it is no relapse."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gevent
import pytest

from harness.checks.recovery_within_limit import RecoveryWithinLimit
from harness.metrics import UNITS
from harness.model import Kind, Verdict
from harness.observers.processes import Processes
from harness.plan import Options, build_plan
from harness.process import age_s, read_process
from harness.record import Record
from harness.run import Run
from harness.scenario import load_file
from harness.target import ManifestTarget
from harness.traffic import RequestRow
from tests.contract.victims import wait_for
from tests.drafts import RECOVERED, healthy
from tests.fake_target import FakeView, target

KILL = "scenario_id: ends\ncategory: layer1\nfaults: [{type: kernel_kill, target: victim}]\nmax_recovery_time: 30\n"
ROUTES = [
    {"name": "GET /work", "method": "GET", "path": "/work", "kernels": ["victim"]},
    {"name": "GET /still", "method": "GET", "path": "/still", "kernels": []},
]


@pytest.fixture(autouse=True)
def _not_patched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust patches its processes, so that a nap lets others run; this one is not patched."""
    monkeypatch.setattr("harness.observers.loop_lag.worst_lag_ms", lambda: gevent.sleep(0.4) or 1.0)


@dataclass
class Service:
    """A process that is named by a pid file and has a successor when it is told to."""

    folder: Path
    child: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        self.child = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.05)"])
        pid = self.child.pid
        wait_for(lambda: read_process(pid) is not None)
        (self.folder / "next").write_text(f"{pid}\n")
        (self.folder / "next").rename(self.folder / "victim.pid")

    def end(self) -> None:
        assert self.child is not None
        self.child.kill()
        self.child.wait()

    @property
    def target(self) -> ManifestTarget:
        return target(self.folder, processes={"victim": {"pid_file": f"{self.folder}/victim.pid"}}, routes=ROUTES)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    one = Service(tmp_path)
    one.begin()
    yield one
    one.end()


def test_the_edge_bears_the_time_of_the_successors_start(service: Service) -> None:
    view, observer = FakeView(service.target), Processes(service.target)
    view.at_s = 100.0
    list(observer.observe(view))
    service.end()
    service.begin()
    assert service.child is not None
    began = read_process(service.child.pid)
    assert began is not None
    wait_for(lambda: age_s(began) > 0.3)
    view.at_s, low_s = 101.0, age_s(began)
    (edge,) = [one for one in observer.observe(view) if one.kind is Kind.KERNEL_CHANGED]
    assert 101.0 - age_s(began) - 0.01 <= edge.at_s <= 101.0 - low_s + 0.01
    assert edge.detail["seen_at_s"] == 101.0


def test_the_edge_is_never_before_the_last_look(service: Service) -> None:
    """A process that has run for long may take over by its pid file alone."""
    view, observer = FakeView(service.target), Processes(service.target)
    view.at_s = 100.0
    list(observer.observe(view))
    service.end()
    (service.folder / "victim.pid").write_text(f"{os.getpid()}\n")
    view.at_s = 100.2
    (edge,) = [one for one in observer.observe(view) if one.kind is Kind.KERNEL_CHANGED]
    assert edge.at_s == 100.0


def healthy_until(run: Run, condition: Callable[[], object]) -> None:
    """Ticks with users who are served, until *condition* holds."""
    with gevent.Timeout(30):
        while not condition():
            now_s = run.clock.now_s()
            run.add_rows([RequestRow(round(now_s, 1), "legitimate", "GET /work", "ok", 200, 2, ((5, 2),))])
            run.tick()
            gevent.sleep(0.05)


def recovered(service: Service, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run whose victim is killed and has a successor that is noticed when the run has long called it well."""
    monkeypatch.setattr(Processes, "every_s", 1.5)
    (service.folder / "mine.yaml").write_text(KILL)
    known = service.target
    plan, faults = build_plan(load_file(service.folder / "mine.yaml")[0], known, Options(seed=1), UNITS)
    run = Run(plan, faults, known, service.folder / "out" / "ends" / "now", {"repeat": ""})
    run.begin()
    monkeypatch.setattr(run, "_trouble", lambda now_s: "")  # its ticks see nothing of the change
    gevent.sleep(0.1)
    run.conductor.start(run.clock.now_s())
    run._enter("faults")
    pid = service.child.pid if service.child else 0
    healthy_until(run, lambda: read_process(pid) is None)
    service.end()
    service.begin()
    healthy_until(run, lambda: run.recovered_at_s is not None)
    return run


def judged(run: Run) -> tuple[Verdict, Record]:
    run.abort("enough was seen")
    run.settle()
    record = Record.load(run.folder)
    return RecoveryWithinLimit(claim="").check(record).verdict, record


def test_a_successor_noticed_late_is_no_relapse(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    run = recovered(service, monkeypatch)
    verdict, record = judged(run)
    (edge,) = [one for one in record.of_kind(Kind.KERNEL_CHANGED) if one.detail.get("what") == "process"]
    assert record.recovered is not None and edge.at_s <= record.recovered.at_s
    assert (record.relapse, verdict) == (None, Verdict.PASS)


def test_a_death_after_the_recovery_is_a_relapse(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    run = recovered(service, monkeypatch)
    service.end()
    healthy_until(run, lambda: not run.watcher.latest[("kernel_pid", "victim")][1])
    verdict, record = judged(run)
    assert record.relapse is not None and record.relapse.detail["to"] == "gone"
    assert verdict is Verdict.FAIL


def test_a_change_after_the_recovery_is_still_red(tmp_path: Path) -> None:
    for name, at_s, expected in (("before", RECOVERED - 0.1, Verdict.PASS), ("after", RECOVERED + 0.1, Verdict.FAIL)):
        draft = healthy()
        draft.add(at_s, Kind.KERNEL_CHANGED, "librarian", "processes", what="process", old_pid=1, pid=2)
        record = draft.record(tmp_path / name)
        assert RecoveryWithinLimit(claim="").check(record).verdict is expected
