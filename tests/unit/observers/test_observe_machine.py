"""The observers that look at the machine itself: processes, resources, and the harness's own loop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.model import Kind, Reading
from harness.observers import resources
from harness.observers.loop_lag import LoopLag
from harness.observers.processes import Processes
from harness.observers.resources import Resources, io_ms, memory_percent
from harness.process import age_s, process_state, read_process
from tests.fake_target import FakeView, edges, samples, target
from tests.processes import wait_for

# Processes


class Victims:
    """Kernels that are real processes, each with its pid file; one can be replaced as a restart would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, kernel: str) -> int:
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        self.running[kernel] = subprocess.Popen(command, stdin=subprocess.PIPE)
        self.file(kernel).write_text(str(self.running[kernel].pid))
        return self.running[kernel].pid

    def kill(self, kernel: str) -> None:
        process = self.running.pop(kernel)
        process.kill()
        process.communicate()

    def signal(self, kernel: str, number: signal.Signals, state: str) -> None:
        pid = self.running[kernel].pid
        os.kill(pid, number)
        wait_for(lambda: (process_state(pid) == "T") == (state == "T"), 5, f"state {state}")

    def file(self, kernel: str) -> Path:
        return self.folder / f"{kernel}.pid"


@pytest.fixture
def victims(tmp_path: Path) -> Iterator[Victims]:
    one = Victims(tmp_path)
    yield one
    for kernel in list(one.running):
        with contextlib.suppress(ProcessLookupError):
            one.kill(kernel)


@pytest.fixture
def view(victims: Victims, tmp_path: Path) -> FakeView:
    kernels = ("librarian", "governance")
    return FakeView(target(tmp_path, processes={name: {"pid_file": str(victims.file(name))} for name in kernels}))


def look(observer: Any, view: FakeView, at_s: float = 0.0) -> list[Reading]:
    view.at_s = at_s
    return list(observer.observe(view))


def test_kernels_that_run_are_samples_and_no_edges(victims: Victims, view: FakeView) -> None:
    pids = {kernel: float(victims.start(kernel)) for kernel in ("librarian", "governance")}
    observer = Processes(view.target)
    readings = look(observer, view)
    assert samples(readings, "kernel_pid") == pids and not [one for one in readings if one.kind]
    assert {name for name, mb in samples(readings, "resident_mb").items() if 0 < mb < 500} == set(pids)
    assert look(observer, view) == []


def test_a_kernel_without_a_process_is_pid_0(victims: Victims, view: FakeView) -> None:
    victims.start("governance")
    readings = look(Processes(view.target), view)
    assert samples(readings, "kernel_pid")["librarian"] == 0.0


def test_a_new_process_is_an_edge_with_both_identities(victims: Victims, view: FakeView) -> None:
    old = read_process(victims.start("librarian"))
    victims.start("governance")
    observer = Processes(view.target)
    look(observer, view)
    victims.kill("librarian")
    new = read_process(victims.start("librarian"))
    assert old and new
    readings = look(observer, view, 8.0)
    (edge,) = [one for one in edges(readings, Kind.KERNEL_CHANGED) if one.detail["what"] == "process"]
    assert (edge.detail["seen_at_s"], edge.name, edge.subject) == (8.0, "processes", "librarian")
    assert 8.0 - age_s(new) <= edge.at_s <= 8.0
    assert (edge.detail["old_pid"], edge.detail["pid"]) == (old.pid, new.pid)
    assert (edge.detail["old_start_ticks"], edge.detail["start_ticks"]) == (old.start_ticks, new.start_ticks)
    assert samples(readings, "kernel_pid") == {"librarian": float(new.pid)}
    assert look(observer, view) == []


def test_a_kernel_that_is_gone_and_comes_back(victims: Victims, view: FakeView) -> None:
    old = victims.start("librarian")
    victims.start("governance")
    observer = Processes(view.target)
    look(observer, view)
    victims.kill("librarian")
    readings = look(observer, view)
    assert samples(readings, "kernel_pid") == {"librarian": 0.0}
    assert [edge.detail["to"] for edge in edges(readings, Kind.KERNEL_CHANGED)] == ["gone"]
    assert not edges(look(observer, view), Kind.KERNEL_CHANGED)  # told once
    new = victims.start("librarian")
    readings = look(observer, view)
    (edge,) = [one for one in edges(readings, Kind.KERNEL_CHANGED) if one.detail["what"] == "process"]
    assert (edge.detail["old_pid"], edge.detail["pid"]) == (old, new)
    assert samples(readings, "kernel_pid") == {"librarian": float(new)}


def test_a_stopped_process_is_a_symptom_and_going_on_is_an_edge(victims: Victims, view: FakeView) -> None:
    victims.start("librarian")
    victims.start("governance")
    observer = Processes(view.target)
    look(observer, view)
    victims.signal("librarian", signal.SIGSTOP, "T")
    readings = look(observer, view, 2.0)
    assert [(edge.subject, edge.detail["to"]) for edge in edges(readings, Kind.KERNEL_CHANGED)] == [("librarian", "T")]
    (symptom,) = edges(readings, Kind.SYMPTOM_SEEN)
    assert (symptom.subject, symptom.detail["what"]) == ("librarian", "process_stopped")
    assert look(observer, view) == []
    victims.signal("librarian", signal.SIGCONT, "running")
    readings = look(observer, view)
    assert [edge.detail["to"] for edge in edges(readings, Kind.KERNEL_CHANGED)] == ["running"]
    assert not edges(readings, Kind.SYMPTOM_SEEN)


@pytest.mark.parametrize("stopped", [False, True])
def test_whoever_follows_the_states_ends_with_running(victims: Victims, view: FakeView, stopped: bool) -> None:
    """Gone is not running, even when it was stopped before; and back it is running, even when nobody else says so."""
    victims.start("librarian")
    victims.start("governance")
    observer = Processes(view.target)
    look(observer, view)
    if stopped:
        victims.signal("librarian", signal.SIGSTOP, "T")
        assert states(look(observer, view)) == ["T"]
    victims.kill("librarian")
    assert states(look(observer, view)) == ["gone"]
    victims.start("librarian")
    assert states(look(observer, view)) == ["running"]


def test_a_stopped_process_that_is_replaced_at_once_is_running(victims: Victims, view: FakeView) -> None:
    victims.start("librarian")
    victims.start("governance")
    observer = Processes(view.target)
    look(observer, view)
    victims.signal("librarian", signal.SIGSTOP, "T")
    look(observer, view)
    victims.kill("librarian")
    victims.start("librarian")
    assert states(look(observer, view)) == ["running"]


def states(readings: list[Reading]) -> list[Any]:
    changes = edges(readings, Kind.KERNEL_CHANGED)
    return [edge.detail["to"] for edge in changes if edge.detail["what"] == "state"]


def test_a_zombie_is_no_process(victims: Victims, view: FakeView) -> None:
    pid = victims.start("librarian")
    victims.start("governance")
    observer = Processes(view.target)
    look(observer, view)
    os.kill(pid, signal.SIGKILL)  # and nobody reaps it
    wait_for(lambda: process_state(pid) == "Z", 5, "a zombie")
    assert samples(look(observer, view), "kernel_pid") == {"librarian": 0.0}


# Resources


def test_a_first_look_at_once_says_nothing(tmp_path: Path) -> None:
    assert look(Resources(target(tmp_path)), FakeView(target(tmp_path))) == []


def test_the_shares_are_of_the_time_since_the_last_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, io = [100.0], {"sda": 5000, "sdb": 0}
    monkeypatch.setattr(resources.cpu_clock, "noted", lambda since_s: ())  # what other tests of this process noted
    monkeypatch.setattr(resources.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(resources, "io_ms", lambda: dict(io))
    observer = Resources(target(tmp_path))
    busy_s = [7.0]
    monkeypatch.setattr(observer.clock, "_read", lambda: busy_s[0])
    monkeypatch.setattr(observer.clock, "cores", 2)
    observer._busy_s = 7.0
    now_s[0], busy_s[0], io["sda"], io["sdb"] = 100.5, 7.75, 5100, 400
    readings = look(observer, FakeView(target(tmp_path)), 3.0)
    assert samples(readings, "cpu_percent") == {"": pytest.approx(75.0)}  # 0.75 s of 2 cores x 0.5 s
    assert samples(readings, "disk_busy_percent") == {"": pytest.approx(80.0)}  # the busiest: 400 ms of 500 ms
    assert {reading.at_s for reading in readings} == {3.0}
    now_s[0] = 101.5
    readings = look(observer, FakeView(target(tmp_path)))
    assert samples(readings, "cpu_percent") == {"": 0.0} and samples(readings, "disk_busy_percent") == {"": 0.0}


def test_what_was_noted_before_the_run_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(resources.time, "monotonic", lambda: now_s[0])
    observer = Resources(target(tmp_path))
    spans = {90.0: [(97.5, 99.0, 80.0), (99.0, 99.2, 40.0)]}
    monkeypatch.setattr(resources.cpu_clock, "noted", lambda since_s: spans[round(since_s - 0.5, 3)])
    now_s[0] = 100.5
    told = [one for one in look(observer, FakeView(target(tmp_path)), 0.5) if one.name == "cpu_percent_before"]
    assert [(round(one.at_s, 3), one.value) for one in told] == [
        (-2.0, 80.0),
        (-1.5, 80.0),
        (-1.0, 80.0),
        (-0.8, 40.0),
    ]
    now_s[0] = 101.0
    assert "cpu_percent_before" not in {one.name for one in look(observer, FakeView(target(tmp_path)), 1.0)}


def test_a_disk_that_appears_later_starts_at_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, io = [100.0], {"sda": 0}
    monkeypatch.setattr(resources.time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(resources, "io_ms", lambda: dict(io))
    observer = Resources(target(tmp_path))
    now_s[0], io["usb"] = 101.0, 10_000_000
    assert samples(look(observer, FakeView(target(tmp_path))), "disk_busy_percent") == {"": 0.0}


def test_a_target_with_a_memory_limit_of_its_own_is_read_as_well(tmp_path: Path) -> None:
    group = tmp_path / "group"
    observer = Resources(target(tmp_path, paths={"memory_cgroup": str(group)}))
    view = FakeView(target(tmp_path))
    observer._at_s -= 1.0
    assert set(samples(look(observer, view), "memory_percent")) == {""}, "a group that is gone tells nothing"
    group.mkdir()
    for name, text in (("max", "1000"), ("current", "900"), ("stat", "inactive_file 100")):
        (group / f"memory.{name}").write_text(f"{text}\n")
    observer._at_s -= 1.0
    assert samples(look(observer, view), "memory_percent")["target"] == 80.0


def test_this_machine_can_be_read() -> None:
    assert 0 < memory_percent() < 100
    assert io_ms() and all(value >= 0 for value in io_ms().values())


# The harness's own loop


def test_the_lag_is_the_longest_wait_beyond_the_nap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    late_s = iter([0.0, 0.0, 0.12, 0.0])

    def nap(seconds: float) -> None:
        now_s[0] += seconds + next(late_s, 0.0)

    monkeypatch.setattr("harness.observers.loop_lag.time.monotonic", lambda: now_s[0])
    monkeypatch.setattr("harness.observers.loop_lag.time.sleep", nap)
    view = FakeView(target(tmp_path))
    (sample,) = look(LoopLag(view.target), view, 5.0)
    assert (sample.name, sample.at_s) == ("loop_lag_ms", 5.0) and sample.value == pytest.approx(120.0)
    assert 0.4 <= now_s[0] < 0.6


def test_a_loop_that_is_held_up_lags(tmp_path: Path) -> None:
    """In gevent's loop, where the harness lives: one greenlet holds it for 80 ms, the observer's sees that."""
    script = """
from gevent import monkey; monkey.patch_all()
import sys, time, gevent
from pathlib import Path
from harness.observers.loop_lag import LoopLag
from tests.fake_target import FakeView, target

def hold():
    until = time.monotonic() + 0.08
    while time.monotonic() < until:
        pass

one = target(Path(sys.argv[1]))
gevent.spawn_later(0.1, hold)
print([r.value for r in LoopLag(one).observe(FakeView(one))][0])
"""
    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=30, check=True
    )
    assert 60 < float(run.stdout.split()[-1]) < 2000


def test_workers_of_a_pool_are_watched_as_kernels_are(tmp_path: Path, victims: Victims) -> None:
    victims.start("htm_worker_1")
    pool = {"processes": {"htm_worker_1": {"pid_file": str(victims.file("htm_worker_1"))}}, "function": "a.b:c"}
    view = FakeView(target(tmp_path, workers={"htm": pool}))
    observer = Processes(view.target)
    first = list(observer.observe(view))
    assert {(one.name, one.subject) for one in first} == {
        ("worker_pid", "htm_worker_1"),
        ("processes_seen", ""),
        ("resident_mb", "htm_worker_1"),
    }
    victims.kill("htm_worker_1")
    pid = victims.start("htm_worker_1")
    (edge,) = edges(list(observer.observe(view)), Kind.KERNEL_CHANGED)
    assert (edge.subject, edge.detail["pid"]) == ("htm_worker_1", pid)
