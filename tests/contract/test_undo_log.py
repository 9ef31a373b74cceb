"""The undo log and the sweep: full disks, torn rows, live guardians, orphans; nothing is lost, nothing is hit twice."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from faults.kernel_pause import KernelPause
from harness.guardian_link import GuardianLink, GuardianLost
from harness.model import Undo
from harness.primitives.kill_marked import GUARDIAN_VARIABLE, MARKER_VARIABLE
from harness.primitives.resume import resume
from harness.process import process_state, read_process, send
from harness.sweep import held, stuck, sweep
from harness.undo_log import NAME, UndoLog, opened_by, pid_namespace, read_undo_log
from tests.contract.victims import Victim, wait_for

DEAD = replace(read_process(os.getpid()), start_ticks=1)  # type: ignore[type-var]  # nobody's identity


def log_of(folder: Path, undo: Undo, *states: str, guardian: object = DEAD) -> Path:
    log = UndoLog(folder)
    log.write("OPENED", "", **opened_by(guardian))  # type: ignore[arg-type]
    log.write("PLANNED", "f", undo=[dict(one) for one in undo.primitives])
    for state in states:
        log.write(state, "f")
    log.close()
    return folder / NAME


def stopped(victim: Victim) -> Undo:
    process = victim.process("victim")
    assert send(process, signal.SIGSTOP)
    wait_for(lambda: process_state(process.pid) == "T")
    return Undo(primitives=(resume(process),))


@pytest.mark.parametrize("states", [(), ("ARMED",), ("ARMED", "ACTIVE"), ("ARMED", "ACTIVE", "HEALING"), ("STUCK",)])
def test_a_sweep_heals_what_a_dead_guardian_left(tmp_path: Path, victim: Victim, states: tuple[str, ...]) -> None:
    log_of(tmp_path, stopped(victim), *states)
    assert [(one.fault_id, one.verified) for one in sweep(tmp_path)] == [("f", True)]
    assert process_state(victim.child.pid) != "T"
    assert sweep(tmp_path) == []


def test_a_log_whose_guardian_lives_is_left_alone(tmp_path: Path, victim: Victim) -> None:
    log_of(tmp_path, stopped(victim), "ARMED", "ACTIVE", guardian=read_process(os.getpid()))
    assert sweep(tmp_path) == [] and process_state(victim.child.pid) == "T"
    send(victim.process("victim"), signal.SIGCONT)


def test_what_is_healed_in_the_log_is_not_touched(tmp_path: Path, victim: Victim) -> None:
    undo = stopped(victim)
    log_of(tmp_path, undo, "ARMED", "ACTIVE", "HEALING", "HEALED")
    assert sweep(tmp_path) == [] and process_state(victim.child.pid) == "T", "by somebody else's hand by now"
    send(victim.process("victim"), signal.SIGCONT)


@pytest.mark.parametrize("cut", [1, 12, 40])
def test_a_row_cut_in_the_middle_hides_no_other(tmp_path: Path, victim: Victim, cut: int) -> None:
    path = log_of(tmp_path, stopped(victim), "ARMED", "ACTIVE")
    path.write_bytes(path.read_bytes()[:-cut])
    assert [one.verified for one in sweep(tmp_path)] == [True]
    assert read_undo_log(path).open == {}, "the row of the sweep stands on a line of its own"


def test_what_cannot_be_healed_stays_visible(tmp_path: Path) -> None:
    path = log_of(tmp_path, Undo(primitives=({"op": "no_such_primitive"},)), "ARMED", "ACTIVE")
    for _ in range(2):
        swept = sweep(tmp_path)
        assert [one.verified for one in swept] == [False] and "STUCK" in str(swept[0])
    assert read_undo_log(path).open["f"].state == "STUCK"
    assert stuck(tmp_path) == [
        f"{tmp_path.name} f: was STUCK; no_such_primitive: no primitive is called 'no_such_primitive' (STUCK)"
    ]


def test_no_garbage_in_a_log_is_a_traceback(tmp_path: Path) -> None:
    rows = [b"\x00\xff", b"[]", b"{}", b'{"state": "PLANNED", "fault_id": "f"}', b'{"state": "ACTIVE", "fault_id": 9}']
    rows += [b'{"state": "PLANNED", "fault_id": [], "undo": []}', b'{"state": "OPENED", "fault_id": "", "guardian": 5}']
    (tmp_path / NAME).write_bytes(b"\n".join(rows))
    assert sweep(tmp_path) == []


def test_a_new_log_is_known_to_its_folder_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("harness.undo_log.sync_folder", synced.append)
    for _ in range(2):
        UndoLog(tmp_path).close()
    assert synced == [tmp_path], "once: later rows change nothing of the folder"


def test_nothing_is_injected_when_the_log_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to("/dev/full")
    full = GuardianLink(tmp_path, "full")
    with pytest.raises(GuardianLost):
        full.arm("f", Undo(), 60)
    full.close()


def test_a_disk_that_fills_up_keeps_nobody_from_healing(tmp_path: Path, victim: Victim, link: GuardianLink) -> None:
    fault = KernelPause(target="victim", pause_seconds=5)
    undo = link.arm("f", fault.prepare(victim), 60)  # type: ignore[arg-type]
    size = (tmp_path / NAME).stat().st_size
    resource.prlimit(link.process.pid, resource.RLIMIT_FSIZE, (size, size))
    fault.inject(victim, undo, link.hands("f"))  # type: ignore[arg-type]
    link.active("f")
    with pytest.raises(OSError, match="File too large"):
        link.arm("g", Undo(), 60)
    assert all(result["verified"] for result in link.heal("f")) and process_state(victim.child.pid) != "T"
    assert (tmp_path / NAME).stat().st_size == size, "not a row more was taken"


def test_a_stuck_fault_is_tried_again_until_it_can_be_healed(tmp_path: Path, link: GuardianLink) -> None:
    link.arm("f", Undo(primitives=({"op": "no_such_primitive"},)), 60)
    assert not all(result["verified"] for result in link.heal("f"))

    def tries() -> int:
        return (tmp_path / NAME).read_text().count('"STUCK"')

    wait_for(lambda: tries() >= 3, 10.0)


def test_the_harness_heals_and_notes_it_when_the_guardian_is_dead(
    tmp_path: Path,
    victim: Victim,
    link: GuardianLink,
) -> None:
    fault = KernelPause(target="victim", pause_seconds=5)
    undo = link.arm("f", fault.prepare(victim), 60)  # type: ignore[arg-type]
    fault.inject(victim, undo, link.hands("f"))  # type: ignore[arg-type]
    link.process.kill()
    link.process.wait()
    assert all(result["verified"] for result in link.heal("f")) and process_state(victim.child.pid) != "T"
    assert json.loads((tmp_path / NAME).read_text().splitlines()[-1])["by"] == "harness"
    assert sweep(tmp_path) == []


def test_a_helper_that_lost_its_guardian_is_found_by_its_marker(tmp_path: Path) -> None:
    me = asdict(DEAD)
    lost = {GUARDIAN_VARIABLE: f"{me['pid']}:{me['start_ticks']}:{me['boot_id']}:{pid_namespace()}"}
    own = read_process(os.getpid())
    assert own is not None
    kept = {GUARDIAN_VARIABLE: f"{own.pid}:{own.start_ticks}:{own.boot_id}:{pid_namespace()}"}
    command = [sys.executable, "-c", "import sys; print('up', flush=True); sys.stdin.read()"]
    children = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, MARKER_VARIABLE: f"orphan-{os.getpid()}/{name}", **variables},
        )
        for name, variables in (("lost", lost), ("kept", kept))
    ]
    try:
        assert all(child.stdout and child.stdout.readline() == b"up\n" for child in children)
        swept = [one for one in sweep(tmp_path / "none") if one.fault_id.startswith(f"orphan-{os.getpid()}/")]
        assert [one.fault_id for one in swept] == [f"orphan-{os.getpid()}/lost"]
        assert children[0].wait(timeout=5) == -signal.SIGKILL and children[1].poll() is None
    finally:
        for child in children:
            child.kill()
            child.communicate()


def test_another_pid_namespace_is_left_alone_and_told(tmp_path: Path, victim: Victim) -> None:
    path = log_of(tmp_path, stopped(victim), "ARMED", "ACTIVE")
    path.write_text(path.read_text().replace(pid_namespace(), "pid:[1]"))
    swept = sweep(tmp_path)
    assert [one.verified for one in swept] == [False] and "another pid namespace" in str(swept[0])
    assert stuck(tmp_path) == [], "nothing here can tell, and no run must wait for it"
    assert process_state(victim.child.pid) == "T"
    assert held("1:1:boot:pid:[1]") and not held(f"1:1:boot:{pid_namespace()}")
    send(victim.process("victim"), signal.SIGCONT)


def test_what_is_injected_after_the_guardian_took_it_back_is_taken_back_too(
    tmp_path: Path, victim: Victim, link: GuardianLink
) -> None:
    """As when the harness stands still for longer than its lease in the middle of an injection."""
    fault = KernelPause(target="victim", pause_seconds=5)
    link.arm("f", fault.prepare(victim), 0.2)  # type: ignore[arg-type]
    wait_for(lambda: '"HEALING"' in (tmp_path / NAME).read_text(), 5.0)
    assert "f" in read_undo_log(tmp_path / NAME).open, "it may yet be injected"
    assert send(victim.process("victim"), signal.SIGSTOP), "the injection goes on"
    wait_for(lambda: process_state(victim.child.pid) != "T", 5.0)
    with pytest.raises(OSError, match="taken back while it was being injected"):
        link.active("f")
    assert all(result["verified"] for result in link.heal("f"))
    assert read_undo_log(tmp_path / NAME).open == {}
    assert link.heal("f") != [], "read back again, though the guardian has closed it"
