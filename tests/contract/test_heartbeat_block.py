"""heartbeat_block: a process works on, and its heartbeats do not arrive; the pipe stays open, and comes back."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.heartbeat_block import HeartbeatBlock
from harness.contracts import ProcessId, TargetError, TargetLacks
from harness.guardian_link import GuardianLink
from harness.model import Hold
from harness.process import read_process, same
from harness.target import load_target
from tests.contract.resources import bring
from tests.processes import twin, wait_for

BLOCK = HeartbeatBlock(target="victim", block_seconds=60)
BEATING = "import os, sys, time\nwhile True:\n    os.write(int(sys.argv[1]), b'.')\n    time.sleep(0.02)"


class Beating:
    """A target of one kernel, which beats into a pipe, and whose supervisor is this process."""

    bus = None
    kernels = ("victim",)

    def __init__(self) -> None:
        self.heard, beats = os.pipe()
        self.child = subprocess.Popen([sys.executable, "-c", BEATING, str(beats)], pass_fds=(beats,))
        os.close(beats)
        self.supervisor: int | None = os.getpid()
        wait_for(self.beats, 5.0, "the first heartbeat")

    def process(self, name: str) -> ProcessId:
        pid = self.child.pid if name == "victim" else self.supervisor
        found = read_process(pid) if pid else None
        if found is None:
            raise TargetError(f"no process {name}")
        return found

    def beats(self, within_s: float = 0.2) -> int:
        """Bytes that arrive in a fifth of a second, after what was on the way; -1 at the pipe's end."""
        while select.select([self.heard], [], [], 0)[0]:
            if not os.read(self.heard, 65536):
                return -1
        return len(os.read(self.heard, 65536)) or -1 if select.select([self.heard], [], [], within_s)[0] else 0

    def close(self) -> None:
        self.child.kill()
        self.child.wait()
        os.close(self.heard)


@pytest.fixture
def beating() -> Iterator[Beating]:
    one = Beating()
    yield one
    one.close()


def test_it_lives_and_is_not_heard_and_then_it_is_again(beating: Beating, link: GuardianLink) -> None:
    before = beating.process("victim")
    descriptors = len(list(Path(f"/proc/{before.pid}/fd").iterdir()))
    force = bring(BLOCK, beating, link)
    assert (force.sample().achieved, force.sample().hold) == (1.0, Hold.HOLDS)
    assert beating.beats() == 0, "nothing arrives, and the pipe has no end"
    assert same(before)
    force.heal_twice()
    wait_for(lambda: beating.beats() > 0, 3.0, "its heartbeats")
    assert same(before) and len(list(Path(f"/proc/{before.pid}/fd").iterdir())) == descriptors
    assert force.sample().hold is Hold.LOST, "who has taken it away is no target"


def test_a_process_that_is_gone_was_ended_by_its_target(beating: Beating, link: GuardianLink) -> None:
    force = bring(BLOCK, beating, link)
    beating.child.kill()
    beating.child.wait()
    sample = force.sample()
    assert sample.hold is Hold.TARGET and "is gone from /proc" in sample.because
    force.heal_twice()


def test_whose_heartbeats_nobody_hears_is_not_applicable(beating: Beating, link: GuardianLink) -> None:
    beating.supervisor = None
    with pytest.raises(TargetLacks, match="nobody is known to hear the heartbeats of victim"):
        BLOCK.prepare(beating)  # type: ignore[arg-type]
    beating.supervisor = beating.child.pid
    with pytest.raises(TargetLacks, match="0 pipes lead from victim"):
        BLOCK.prepare(beating)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_twins_watchdog_replaces_it(tmp_path: Path, link: GuardianLink) -> None:
    fault = HeartbeatBlock(target="librarian", block_seconds=60)
    with twin(tmp_path / "twin"):
        target = load_target(tmp_path / "twin" / "target.yaml")
        old = target.process("librarian")
        force = bring(fault, target, link)
        assert force.sample().achieved == 1.0
        ended = wait_for(lambda: s if (s := force.sample()).hold is Hold.TARGET else None, 10.0, "the restart")
        assert f"pid {old.pid} is gone" in ended.because
        force.heal_twice()
