"""A pause by the cgroup freezer: really frozen, really home again, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from faults.helpers import freezer
from faults.kernel_pause import KernelPause
from harness.catalog import CatalogError, build_fault
from harness.contracts import Hands, ProcessId, TargetError, TargetLacks
from harness.model import Hold, Undo
from harness.primitives import thaw
from harness.process import process_state, read_process, same, send
from harness.target import load_target
from harness.undo import heal
from tests.processes import twin, wait_for

COUNTS = "import time\nwhile True: print('.', flush=True); time.sleep(0.01)"
NO_HANDS: Hands = None  # type: ignore[assignment]


class Victim:
    """A target of one process that writes a dot every 10 ms: whether it works is read from its output."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "dots"
        with self.output.open("wb") as out:
            self.child = subprocess.Popen([sys.executable, "-c", COUNTS], stdout=out)
        wait_for(lambda: self.dots() > 0, 5)
        self.cgroups = Path(f"/proc/{self.child.pid}/cgroup").read_text()

    def dots(self) -> int:
        return self.output.stat().st_size

    def works(self) -> bool:
        before = self.dots()
        wait_for(lambda: self.dots() > before, 2, "a dot")
        return True

    def stands_still(self) -> bool:
        """No dot in the time in which another process writes ten."""
        before = self.dots()
        subprocess.run([sys.executable, "-c", "import time\ntime.sleep(0.1)"], check=True)
        return self.dots() == before

    def process(self, name: str) -> ProcessId:
        found = read_process(self.child.pid)
        if found is None:
            raise TargetError("gone")
        return found


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    one = Victim(tmp_path)
    yield one
    one.child.kill()
    one.child.wait()


def usable() -> list[int]:
    """The versions whose freezer this machine offers to these tests: it takes root, and a mount."""
    me = read_process(os.getpid())
    found = []
    for version in (1, 2):
        with contextlib.suppress(freezer.NoFreezer):
            assert me and freezer.place(me, version)
            found.append(version)
    return found


def on(version: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Where there is no freezer of *version*, what is tested is that this is said, and the rest is not defined."""

    def refused(victim: Victim) -> None:
        with pytest.raises(freezer.NoFreezer):
            freezer.place(victim.process("victim"), version)

    return lambda test: test if version in usable() else refused


def cgroup_of(undo: Undo) -> Path:
    return Path(next(one["cgroup"] for one in undo.primitives if one["op"] == thaw.OP))


@on(2)
def test_frozen_and_home_again_twice(victim: Victim) -> None:
    fault = KernelPause(target="victim", pause_seconds=5, mechanism="freezer")
    undo = fault.prepare(victim)  # type: ignore[arg-type]
    assert not cgroup_of(undo).exists() and victim.works(), "prepare touches nothing"
    assert all(result["verified"] for result in heal(undo)), "heal before inject does no harm"
    effect = fault.inject(victim, undo, NO_HANDS)  # type: ignore[arg-type]
    assert str(effect.facts["mechanism"]).startswith("freezer v") and victim.stands_still()
    assert process_state(victim.child.pid) != "T", "no SIGSTOP: what /proc calls stopped is another thing"
    assert fault.sample(victim, undo, effect, NO_HANDS).achieved == 1.0  # type: ignore[arg-type]
    os.kill(victim.child.pid, signal.SIGCONT)
    assert victim.stands_still(), "a SIGCONT does not thaw"
    for _ in range(2):
        assert all(result["verified"] for result in heal(undo))
        assert victim.works() and not cgroup_of(undo).exists()
        assert Path(f"/proc/{victim.child.pid}/cgroup").read_text() == victim.cgroups
    assert fault.sample(victim, undo, effect, NO_HANDS).hold is Hold.LOST  # type: ignore[arg-type]


@on(2)
def test_thawed_by_another_hand_is_no_pause_any_more(victim: Victim) -> None:
    fault = KernelPause(target="victim", pause_seconds=5, mechanism="freezer")
    undo = fault.prepare(victim)  # type: ignore[arg-type]
    effect = fault.inject(victim, undo, NO_HANDS)  # type: ignore[arg-type]
    thaw.set_frozen(cgroup_of(undo), False)
    sample = fault.sample(victim, undo, effect, NO_HANDS)  # type: ignore[arg-type]
    assert sample.hold is Hold.LOST and "not frozen" in sample.because
    assert all(result["verified"] for result in heal(undo))


@on(2)
def test_cut_off_before_it_froze(victim: Victim) -> None:
    undo = KernelPause(target="victim", pause_seconds=5, mechanism="freezer").prepare(victim)  # type: ignore[arg-type]
    cgroup_of(undo).mkdir()
    assert all(result["verified"] for result in heal(undo, complete=False)), "an empty cgroup"
    assert not cgroup_of(undo).exists()
    cgroup_of(undo).mkdir()
    (cgroup_of(undo) / "cgroup.procs").write_text(str(victim.child.pid))
    assert all(result["verified"] for result in heal(undo, complete=False)), "moved, and not yet frozen"
    assert not cgroup_of(undo).exists() and victim.works()


@pytest.mark.parametrize("version", usable() or [0])
def test_a_frozen_process_that_is_killed_leaves_no_cgroup(victim: Victim, version: int) -> None:
    process = victim.process("victim")
    if version not in usable():
        with pytest.raises(freezer.NoFreezer):
            freezer.place(process, 2)
        return
    where = freezer.place(process, version)
    undo = Undo(primitives=(thaw.thaw(process, where.cgroup, where.home),))
    freezer.freeze(process, where)
    victim.child.kill()
    if version == 2:
        wait_for(lambda: not same(process), 2, "the end: version 2 lets SIGKILL through")
    else:
        assert victim.stands_still() and same(process), "version 1 does not: why auto passes it over"
    assert heal(undo)[0]["verified"] and not where.cgroup.exists()
    wait_for(lambda: not same(process), 2, "the end")
    assert heal(undo)[0] == {"op": "thaw", "did": "gone", "verified": True}


@on(2)
def test_a_pid_with_a_new_owner_is_never_frozen(victim: Victim) -> None:
    process = victim.process("victim")
    other = replace(process, start_ticks=1)
    where = freezer.place(other, 2)
    with pytest.raises(ProcessLookupError, match="another owner"):
        freezer.freeze(other, where)
    assert victim.works(), "moved at most, and never stopped"
    assert heal(Undo(primitives=(thaw.thaw(other, where.cgroup, where.home),)), False)[0]["verified"]
    assert Path(f"/proc/{process.pid}/cgroup").read_text() == victim.cgroups


def test_no_other_cgroup_is_ever_touched(tmp_path: Path) -> None:
    foreign = {"op": "thaw", "cgroup": str(tmp_path), "home": str(tmp_path), "pid": 2, "start_ticks": 1, "boot_id": ""}
    result = heal(Undo(primitives=(foreign,)))[0]
    assert not result["verified"] and "not a cgroup of this harness" in result["did"] and tmp_path.exists()


@on(2)
def test_auto_says_why_it_fell_down_the_ladder(victim: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fault = KernelPause(target="victim", pause_seconds=5, mechanism="auto")
    undo = fault.prepare(victim)  # type: ignore[arg-type]
    effect = fault.inject(victim, undo, NO_HANDS)  # type: ignore[arg-type]
    assert effect.facts["mechanism"] == "freezer v2" and effect.facts["not_used"] == []
    assert all(result["verified"] for result in heal(undo))
    (tmp_path / "mounts").write_text("cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0\n")
    monkeypatch.setattr(freezer.place, "__defaults__", (tmp_path / "mounts",))
    undo = fault.prepare(victim)  # type: ignore[arg-type]
    effect = fault.inject(victim, undo, NO_HANDS)  # type: ignore[arg-type]
    assert effect.facts["mechanism"] == "SIGSTOP" and process_state(victim.child.pid) == "T"
    told = {one["mechanism"]: one["why_not"] for one in effect.facts["not_used"]}
    assert "no cgroup freezer" in told["freezer v2"] and "SIGKILL" in told["freezer v1"]
    assert all(result["verified"] for result in heal(undo)) and victim.works()


@on(2)
def test_auto_stops_it_when_the_freezer_fails_in_the_act(victim: Victim, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(cgroup: Path, on: bool) -> None:
        raise PermissionError("no")

    fault = KernelPause(target="victim", pause_seconds=5, mechanism="auto")
    undo = fault.prepare(victim)  # type: ignore[arg-type]
    monkeypatch.setattr(freezer, "set_frozen", refuse)
    effect = fault.inject(victim, undo, NO_HANDS)  # type: ignore[arg-type]
    assert effect.facts["mechanism"] == "SIGSTOP" and not cgroup_of(undo).exists()
    assert all(result["verified"] for result in heal(undo)) and victim.works()
    with pytest.raises(OSError, match="no"):
        replace(fault, mechanism="freezer").inject(victim, undo, NO_HANDS)  # type: ignore[arg-type]
    assert all(result["verified"] for result in heal(undo, complete=False)) and victim.works()


def test_without_any_freezer_it_is_said_before(victim: Victim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mounts").write_text("")
    monkeypatch.setattr(freezer.place, "__defaults__", (tmp_path / "mounts",))
    with pytest.raises(TargetLacks, match=r"cannot be frozen: freezer v2: no cgroup freezer .*; freezer v1: no"):
        KernelPause(target="victim", pause_seconds=5, mechanism="freezer").prepare(victim)  # type: ignore[arg-type]


def test_an_unknown_mechanism_is_refused_in_words() -> None:
    with pytest.raises(CatalogError, match=r"kernel_pause\.mechanism: .*'frezer'.*sigstop, freezer, auto"):
        build_fault("kernel_pause", {"target": "x", "pause_seconds": 5, "mechanism": "frezer"})


def test_the_pause_that_ships_is_a_sigstop(victim: Victim) -> None:
    fault = build_fault("kernel_pause", {"target": "victim", "pause_seconds": 5})
    undo = fault.prepare(victim)
    assert [one["op"] for one in undo.primitives] == ["resume"]
    assert fault.inject(victim, undo, NO_HANDS).facts["mechanism"] == "SIGSTOP"
    assert heal(undo)[0]["verified"] and send(victim.process("victim"), signal.SIGCONT)


@pytest.mark.slow
@on(2)
def test_a_watchdog_replaces_a_frozen_kernel(tmp_path: Path) -> None:
    """What it would not see under version 1: its SIGKILL would not end the old process."""
    with twin(tmp_path):
        target = load_target(tmp_path / "target.yaml")
        old = target.process("memory_fusion")
        fault = KernelPause(target="memory_fusion", pause_seconds=30, mechanism="auto")
        undo = fault.prepare(target)
        effect = fault.inject(target, undo, NO_HANDS)
        assert effect.facts["mechanism"] == "freezer v2"
        wait_for(lambda: fault.sample(target, undo, effect, NO_HANDS).hold is Hold.TARGET, 10, "the watchdog")
        assert not same(old)
        wait_for(
            lambda: (tmp_path / "run" / "memory_fusion.pid").read_text().strip() != str(old.pid), 10, "a successor"
        )
        assert all(result["verified"] for result in heal(undo)) and not cgroup_of(undo).exists()
