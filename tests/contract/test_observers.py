"""Every observer keeps the contract, and sees on a real target what really happens to it."""

from __future__ import annotations

import inspect
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.contracts import Target
from harness.model import Kind, Reading
from harness.observers.bus_listener import BusListener
from harness.observers.counters import OBSERVER as Counters
from harness.process import process_state
from harness.target import ManifestTarget, load_target
from tests.fake_target import FakeView, edges, samples, target
from tests.processes import twin, wait_for


def built(whole: Target) -> list[Any]:
    found: list[Any] = []
    for kind in catalog.observers().values():
        if hasattr(kind, "missing") and kind.missing(whole):
            continue
        found += kind.instances(whole) if hasattr(kind, "instances") else [kind(whole)]
    return found


def test_every_file_of_the_folder_is_an_observer() -> None:
    folder = Path(inspect.getfile(catalog)).parent / "observers"
    stems = {path.stem for path in folder.glob("*.py")} - {"__init__"}
    assert set(catalog.observers()) == stems and len(stems) >= 8


@pytest.mark.parametrize("name", sorted(catalog.observers()))
def test_an_observer_is_one_by_its_shape(name: str) -> None:
    kind = catalog.observers()[name]
    assert 0 <= kind.every_s <= 1.0
    assert list(inspect.signature(kind.observe).parameters) == ["self", "view"]
    assert callable(kind.close) and kind.__doc__


def test_what_a_manifest_does_not_offer_is_said_and_nothing_is_built(tmp_path: Path) -> None:
    """A manifest written by hand may have no bus and no signals: no observer may take a run down with it."""
    bare = target(tmp_path, signals={}, event_rules=[])
    lacking = {name: kind.missing(bare) for name, kind in catalog.observers().items() if hasattr(kind, "missing")}
    assert lacking == {
        "bus_listener": "bus",
        "control_plane": "signals.kernels",
        "counters": "signals.metrics",
        "file_hashes": "paths.models",
        "model_answers": "models",
        "model_fallback": "models with fields",
        "events": "signals.events, signals.safeguards",
        "audit_head": "audit.head",
    }
    for observer in built(bare):
        observer.close()


# On the embedded Grace: nothing here is told to the observers, they must see it.


class Watched:
    """All observers of a target, read round by round; *taken* is all that they said."""

    def __init__(self, whole: ManifestTarget) -> None:
        self.view = FakeView(whole)
        self.observers = built(whole)
        # Side by side, as in a run: who waits for the answer of a stopped kernel keeps no other from seeing it stopped.
        self.side_by_side = ThreadPoolExecutor(len(self.observers))
        self.taken: list[Reading] = []

    def round(self) -> list[Reading]:
        said = list(self.side_by_side.map(lambda observer: list(observer.observe(self.view)), self.observers))
        self.taken += [reading for one in said for reading in one]
        return [reading for one in said for reading in one]

    def close(self) -> None:
        self.side_by_side.shutdown()
        for observer in self.observers:
            observer.close()

    def until(self, kind: Kind, subject: str, what: str = "", limit_s: float = 20.0) -> Reading:
        def seen() -> Reading | None:
            self.round()
            found = [one for one in edges(self.taken, kind) if one.subject == subject]
            return next((one for one in found if what in ("", one.detail.get("what"))), None)

        reading: Reading = wait_for(seen, limit_s, f"{kind} {what} of {subject}")
        return reading


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    with twin(tmp_path):
        one = Watched(load_target(tmp_path / "target.yaml"))
        try:
            yield one
        finally:
            one.close()


@pytest.mark.slow
def test_a_target_in_peace_is_samples_without_edges(watched: Watched) -> None:
    wait_for(lambda: (watched.round(), samples(watched.taken, "cpu_percent"))[1], 10)
    taken, whole = watched.taken, watched.view.target
    assert set(samples(taken, "kernel_pid")) == set(whole.kernels) == set(samples(taken, "kernel_heartbeat_age_s"))
    assert set(samples(taken, "route_up").values()) == {1.0}
    assert set(samples(taken, "route_up")) == {route.name for route in whole.routes if route.witness_of}
    for name in ("memory_percent", "disk_busy_percent", "loop_lag_ms", "message_bus.acl_violations"):
        assert list(samples(taken, name)) == [""], name
    assert samples(taken, "message_bus.acl_violations") == {"": 0.0}
    assert set(samples(taken, "model_answers_same").values()) == {1.0}
    for name in ("model_first", "model_label_same"):
        assert samples(taken, name) == {"upstream_model": 1.0}, name
    own = ("state_snapshot", "audit")  # a snapshot is taken anew, and the log holds what the probes asked
    told = [one for one in taken if one.kind is not None and one.subject not in own]
    assert [(one.kind, one.subject, dict(one.detail)) for one in told] == []


@pytest.mark.slow
def test_a_stopped_kernel_is_seen_from_every_side(watched: Watched) -> None:
    """By /proc, by its route, by its heartbeat, by the safeguard's own event, by the playbook's, by a new process."""
    watched.round()
    pid = int(samples(watched.taken, "kernel_pid")["memory_fusion"])
    at_s = watched.view.from_wall(time.time())
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: process_state(pid) == "T", 5)
    assert watched.until(Kind.SYMPTOM_SEEN, "memory_fusion", "process_stopped").name == "processes"
    down = watched.until(Kind.SYMPTOM_SEEN, "memory_fusion", "route_down")
    assert down.detail["route"] == "GET /api/knowledge"
    engaged = watched.until(Kind.SAFEGUARD_ENGAGED, "kernel_watchdog")
    assert engaged.detail["subject"] == "memory_fusion"
    assert at_s < engaged.at_s < at_s + 10  # the target's own time, in the clock of the run
    finished = watched.until(Kind.PLAYBOOK_FINISHED, "kernel_restart")
    assert finished.detail["outcome"] == "succeeded" and finished.at_s > engaged.at_s
    process = watched.until(Kind.KERNEL_CHANGED, "memory_fusion", "process")
    assert process.detail["old_pid"] == pid != process.detail["pid"]
    assert watched.until(Kind.SYMPTOM_SEEN, "memory_fusion", "route_back").detail["status"] == 200
    watched.until(Kind.SAFEGUARD_RELEASED, "kernel_watchdog")
    others = {one.subject for one in edges(watched.taken, Kind.KERNEL_CHANGED)} - {"memory_fusion"}
    assert others == set()


@pytest.mark.slow
def test_who_comes_to_a_target_in_trouble_is_told_of_it(tmp_path: Path) -> None:
    # Off is what engages rightly here: the twin's start may take all of the CPU, and each look of the observers is a
    # call to the dead kernel that fails.
    of_its_calls = "dependency_breaker,dependency_latency_monitor"
    with twin(tmp_path, off=f"kernel_watchdog,resource_pressure_monitor,{of_its_calls}"):
        whole = load_target(tmp_path / "target.yaml")
        os.kill(whole.process("librarian").pid, signal.SIGKILL)
        watched = Watched(whole)
        try:
            changed = watched.until(Kind.KERNEL_CHANGED, "librarian")
            assert changed.detail["to"] in ("failed", "gone")
            wait_for(lambda: (watched.round(), samples(watched.taken, "kernel_pid")["librarian"] == 0.0)[1], 5)
            assert not edges(watched.taken, Kind.SAFEGUARD_ENGAGED)
        finally:
            watched.close()


def hears_itself(whole: ManifestTarget, view: FakeView) -> None:
    ear = BusListener(whole)
    try:
        wait_for(lambda: samples(list(ear.observe(view)), "bus_canary")[""] >= 1, 5, f"{ear.actor} hears itself")
    finally:
        ear.close()


@pytest.mark.slow
def test_run_after_run_on_a_target_that_stays_hears_itself(tmp_path: Path) -> None:
    """More runs than there are spare keys; and nothing that the ear says is counted as an attack."""
    with twin(tmp_path):
        whole = load_target(tmp_path / "target.yaml")
        view, counters = FakeView(whole), Counters(whole)
        assert whole.bus is not None
        for _ in range(len(whole.bus["spare_actors"]) + 1):
            hears_itself(whole, view)
        assert samples(list(counters.observe(view)), "message_bus.acl_violations") == {"": 0.0}
        counters.close()
