"""Faults end with the harness: real processes, real signals, and the guardian killed or not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from faults.cpu_spike import CpuSpike
from faults.kernel_pause import KernelPause
from harness.guardian_link import GuardianLink
from harness.model import Hold, Undo
from harness.primitives.kill_marked import marked
from harness.primitives.resume import resume
from harness.process import process_state, read_process, send
from harness.sweep import sweep
from harness.undo import heal
from tests.contract.victims import Victim, wait_for


def test_pause_stops_and_heal_resumes_twice(victim: Victim, link: GuardianLink) -> None:
    fault = KernelPause(target="victim", pause_seconds=5)
    undo = fault.prepare(victim)  # type: ignore[arg-type]
    assert process_state(victim.child.pid) != "T", "prepare touches nothing"
    assert all(result["verified"] for result in heal(undo)), "heal before inject does no harm"
    link.arm("f", undo, 60)
    effect = fault.inject(victim, undo, link.hands("f"))  # type: ignore[arg-type]
    assert process_state(victim.child.pid) == "T"
    assert fault.sample(victim, undo, effect, link.hands("f")).achieved == 1.0  # type: ignore[arg-type]
    for _ in range(2):
        assert all(result["verified"] for result in link.heal("f"))
        assert process_state(victim.child.pid) != "T"
    ended = fault.sample(victim, undo, effect, link.hands("f"))  # type: ignore[arg-type]
    assert ended.hold is Hold.LOST, "the guardian resumed it: no witness that the target did"
    assert f"pid {victim.child.pid} runs again" in ended.because


def test_only_a_new_process_shows_that_the_target_ended_a_pause(victim: Victim, link: GuardianLink) -> None:
    fault = KernelPause(target="victim", pause_seconds=5)
    undo = link.arm("f", fault.prepare(victim), 60)  # type: ignore[arg-type]
    effect = fault.inject(victim, undo, link.hands("f"))  # type: ignore[arg-type]
    os.kill(victim.child.pid, signal.SIGCONT)  # as an operator does
    wait_for(lambda: process_state(victim.child.pid) != "T")
    assert fault.sample(victim, undo, effect, link.hands("f")).hold is Hold.LOST  # type: ignore[arg-type]
    victim.child.kill()
    victim.child.wait()
    victim.child = Victim().child
    ended = fault.sample(victim, undo, effect, link.hands("f"))  # type: ignore[arg-type]
    assert ended.hold is Hold.TARGET and f"victim is now pid {victim.child.pid}" in ended.because


def test_a_target_that_is_gone_counts_as_healed(victim: Victim) -> None:
    undo = Undo(primitives=(resume(victim.process("victim")),))
    victim.child.kill()
    victim.child.wait()
    assert heal(undo)[0]["verified"]


def test_a_reused_pid_is_never_signalled(victim: Victim) -> None:
    other = replace(victim.process("victim"), start_ticks=1)
    assert send(other, signal.SIGSTOP) is False
    assert process_state(victim.child.pid) != "T"


@pytest.mark.parametrize("pid", [1, os.getpid()])
def test_some_are_never_a_target(pid: int) -> None:
    found = read_process(pid)
    assert found
    with pytest.raises(ValueError, match="never a target"):
        send(found, signal.SIGSTOP)


HARNESS = """
import sys, time
from pathlib import Path
from harness.guardian_link import GuardianLink
from harness.model import Undo
from harness.process import read_process, send
from harness.primitives.resume import resume
import signal
folder, pid = Path(sys.argv[1]), int(sys.argv[2])
link = GuardianLink(folder, folder.name)
victim = read_process(pid)
link.arm("pause", Undo(primitives=(resume(victim),)), 60)
link.arm("spike", Undo(), 60)
send(victim, signal.SIGSTOP)
link.hands("spike").start_helper("faults.helpers.cpu_pacer", {"cpu_percent": 5, "limit_s": 60})
print(link.process.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("killed", ["harness", "guardian", "both"])
def test_sigkill_leaves_nothing(tmp_path: Path, victim: Victim, killed: str) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HARNESS), str(tmp_path), str(victim.child.pid)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert harness.stdout
    guardian = int(harness.stdout.readline())
    marker = f"{tmp_path.name}/spike"
    wait_for(lambda: process_state(victim.child.pid) == "T" and len(marked(marker)) > 1)
    if killed in ("guardian", "both"):
        os.kill(guardian, signal.SIGKILL)
    if killed in ("harness", "both"):
        harness.kill()
    wait_for(lambda: not marked(marker))
    if killed == "harness":
        wait_for(lambda: process_state(victim.child.pid) != "T")
    else:
        swept = sweep(tmp_path)
        assert {one.fault_id for one in swept} == {"pause", "spike"} and all(one.verified for one in swept)
        assert process_state(victim.child.pid) != "T"
        assert sweep(tmp_path) == [], "what is healed stands in the log"
    harness.kill()
    harness.wait()
    harness.stdout.close()


def test_a_helper_is_never_started_before_its_undo_is_on_disk(link: GuardianLink) -> None:
    with pytest.raises(OSError, match="not armed"):
        link.hands("f").start_helper("faults.helpers.cpu_pacer", {"cpu_percent": 5, "limit_s": 5})


def test_a_killed_pacer_is_a_lost_fault(victim: Victim, link: GuardianLink) -> None:
    fault = CpuSpike(cpu_percent=10, duration_seconds=5)
    link.arm("f", fault.prepare(victim), 60)  # type: ignore[arg-type]
    effect = fault.inject(victim, Undo(), link.hands("f"))  # type: ignore[arg-type]
    hands = link.hands("f")
    wait_for(lambda: fault.sample(victim, Undo(), effect, hands).achieved is not None, 5.0)  # type: ignore[arg-type]
    pacers = [one for one in marked(link.marker("f")) if one.pid != effect.facts["pid"]]
    assert pacers
    send(pacers[0], signal.SIGKILL)
    wait_for(lambda: fault.sample(victim, Undo(), effect, hands).hold is Hold.LOST, 5.0)  # type: ignore[arg-type]
