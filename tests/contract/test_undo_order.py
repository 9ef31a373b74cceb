"""What an undo says about helpers holds: who ends first, who is told first, and where a backup goes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.guardian_link import GuardianLink
from harness.model import Undo
from harness.primitives.kill_marked import MARKER_VARIABLE, kill_marked, marked
from harness.undo import heal
from harness.undo_log import read_undo_log
from tests.processes import wait_for

POLITE = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0) if sys.argv[1] == "polite" else None)
print("ready", flush=True)
while True: time.sleep(0.02)
"""


@pytest.fixture
def link(tmp_path: Path) -> Iterator[GuardianLink]:
    one = GuardianLink(tmp_path, f"order-{os.getpid()}-{tmp_path.name}")
    yield one
    one.close()


def ops(undo: Undo) -> list[str]:
    return [str(one["op"]) for one in undo.primitives]


def test_helpers_end_first_unless_the_fault_says_otherwise(link: GuardianLink) -> None:
    other = {"op": "unheard_of"}
    assert ops(link.arm("a", Undo(primitives=(other,)), 60)) == ["unheard_of", "kill_marked"]
    own = link.arm("b", Undo(primitives=(kill_marked("", term_s=1.0), other)), 60)
    assert ops(own) == ["kill_marked", "unheard_of"], "the last is taken back first"
    assert own.primitives[0]["marker"] == link.marker("b")
    assert [result["op"] for result in link.heal("b")] == ["unheard_of", "kill_marked"]


def test_a_backup_goes_to_the_run_folder(link: GuardianLink, tmp_path: Path) -> None:
    armed = link.arm("f#2", Undo(primitives=({"op": "unheard_of", "backup": "0.backup"},)), 60)
    assert armed.primitives[0]["backup"] == str(tmp_path / "faults" / "f#2.0.backup")


def test_the_log_tells_a_whole_injection_from_one_cut_off(link: GuardianLink, tmp_path: Path) -> None:
    link.arm("whole", Undo(), 60)
    link.active("whole")
    link.arm("cut", Undo(), 60)
    opened = read_undo_log(tmp_path / "undo.log").open
    assert (opened["whole"].complete, opened["cut"].complete) == (True, False)


@pytest.mark.parametrize(("manner", "told"), [("polite", "killed 0, 1 had ended when told"), ("deaf", "killed 1")])
def test_a_helper_is_told_before_it_is_killed(manner: str, told: str) -> None:
    marker = f"order-{os.getpid()}/{manner}"
    child = subprocess.Popen(
        [sys.executable, "-c", POLITE, manner], env={**os.environ, MARKER_VARIABLE: marker}, stdout=subprocess.PIPE
    )
    assert child.stdout and child.stdout.readline() == b"ready\n"
    undo = Undo(primitives=(kill_marked(marker, term_s=0.5),))
    assert heal(undo) == [{"op": "kill_marked", "did": told, "verified": True}]
    assert not marked(marker)
    assert heal(undo)[0]["did"] == "killed 0"
    child.wait()
    child.stdout.close()


def test_helpers_of_an_undo_that_was_never_armed(link: GuardianLink) -> None:
    assert heal(Undo(primitives=(kill_marked(""),)))[0]["verified"], "none can have been started"
    wait_for(lambda: not marked(link.marker("x")), 1.0)
