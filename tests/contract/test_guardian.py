"""Faults end with the harness: real processes, real signals, and the guardian killed or not."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faults.cpu_spike import CpuSpike
from faults.kernel_pause import KernelPause
from harness.guardian import LEASE_S
from harness.guardian_link import GuardianLink, GuardianLost
from harness.model import Hold, Undo
from harness.primitives.gone import gone
from harness.primitives.kill_marked import marked
from harness.primitives.resume import resume
from harness.process import process_state, read_process, send
from harness.sweep import sweep
from harness.undo import heal
from harness.undo_log import NAME, read_undo_log
from tests.contract.victims import Victim, wait_for

LAST_PID = Path("/proc/sys/kernel/ns_last_pid")  # the next process gets a pid that is one higher


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


@pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another boot"}])
def test_a_reused_pid_is_never_signalled(victim: Victim, change: dict[str, Any]) -> None:
    other = replace(victim.process("victim"), **change)
    assert send(other, signal.SIGSTOP) is False
    assert process_state(victim.child.pid) != "T"
    victim.child.send_signal(signal.SIGSTOP)  # as its owner does
    wait_for(lambda: process_state(victim.child.pid) == "T")
    assert heal(Undo(primitives=(resume(other),)))[0] == {"op": "resume", "did": "gone", "verified": True}
    assert process_state(victim.child.pid) == "T"


def test_the_next_owner_of_a_pid_is_left_alone(victim: Victim) -> None:
    """The very same number, where the kernel lets us choose it; elsewhere another process, which must do."""
    first = victim.process("victim")
    undo = Undo(primitives=(resume(first), gone(first)))
    until_s = time.monotonic() + 2 / os.sysconf("SC_CLK_TCK")  # the kernel tells start times by the tick: nobody's
    wait_for(lambda: time.monotonic() > until_s)  # pid may be had again within the one that it began in
    victim.child.kill()
    victim.child.wait()
    may_choose = os.access(LAST_PID, os.W_OK)
    for _ in range(200):
        if may_choose:
            LAST_PID.write_text(str(first.pid - 1))
        victim.child = Victim().child
        if victim.child.pid == first.pid or not may_choose:
            break  # else somebody has started a process meanwhile
        victim.child.kill()
        victim.child.wait()
    assert victim.child.pid == first.pid or not may_choose
    victim.child.send_signal(signal.SIGSTOP)
    wait_for(lambda: process_state(victim.child.pid) == "T")
    assert [one["did"] for one in heal(undo)] == ["gone", "gone"]
    assert process_state(victim.child.pid) == "T" and send(first, signal.SIGKILL) is False
    assert read_process(victim.child.pid) is not None


@pytest.mark.parametrize("pid", [1, os.getpid()], ids=["init", "itself"])
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


LEASING = (
    HARNESS.partition('link.arm("spike"')[0]
    + """
send(victim, signal.SIGSTOP)
link.active("pause")
print(link.process.pid, flush=True)
while True:
    link.lease()
    time.sleep(0.1)
"""
)


@pytest.mark.beside
@pytest.mark.slow
def test_a_harness_that_stands_still_loses_its_faults_with_its_lease(tmp_path: Path, victim: Victim) -> None:
    harness = subprocess.Popen(
        [sys.executable, "-c", LEASING, str(tmp_path), str(victim.child.pid)], stdout=subprocess.PIPE, text=True
    )
    assert harness.stdout
    guardian = int(harness.stdout.readline())
    assert process_state(victim.child.pid) == "T"
    began_s = time.monotonic()
    harness.send_signal(signal.SIGSTOP)
    wait_for(lambda: process_state(victim.child.pid) != "T", LEASE_S + 2.0)
    assert time.monotonic() - began_s > LEASE_S - 1.0, "not before: a harness may be slow"
    wait_for(lambda: read_undo_log(tmp_path / NAME).open == {})
    harness.send_signal(signal.SIGCONT)
    harness.kill()
    harness.communicate()
    wait_for(lambda: read_process(guardian) is None, 5.0)


@pytest.mark.parametrize("healable", [True, False])
def test_a_guardian_that_does_not_end_is_ended_and_healed_for(
    tmp_path: Path, victim: Victim, monkeypatch: pytest.MonkeyPatch, healable: bool
) -> None:
    """Alive it would hold its log: no sweep would ever touch what it has left."""
    monkeypatch.setattr("harness.guardian_link.LEAVE_LIMIT_S", 0.2)
    monkeypatch.setattr("harness.guardian_link.ANSWER_LIMIT_S", 0.5)
    link = GuardianLink(tmp_path, tmp_path.name)
    stuck = () if healable else ({"op": "no_such_primitive"},)
    link.arm("pause", Undo(primitives=(resume(victim.process("victim")), *stuck)), 60)
    send(victim.process("victim"), signal.SIGSTOP)
    link.active("pause")
    os.kill(link.pid, signal.SIGSTOP)
    link.close()
    assert read_process(link.pid) is None and process_state(victim.child.pid) != "T"
    content = read_undo_log(tmp_path / NAME)
    assert not content.held and {name: one.state for name, one in content.open.items()} == (
        {} if healable else {"pause": "STUCK"}
    )


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


def test_a_guardian_that_cannot_be_started_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("harness.guardian_link.subprocess.Popen", refuse)
    with pytest.raises(GuardianLost, match="it could not be started: Resource temporarily unavailable"):
        GuardianLink(tmp_path, "run")
