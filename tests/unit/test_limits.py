"""Limits hold until they are lifted by name, and what must live is never a target."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from faults.disk_full import DiskFull
from faults.memory_pressure import MemoryPressure
from harness.limits import LimitError, Limits, below_floor, exceeded, free_memory_mb, protected, takes_too_much
from harness.model import Undo
from harness.primitives.resume import resume
from harness.process import read_process
from tests.drafts import PaperTarget, mf01_plan

STEP = replace(mf01_plan().steps[0], at_s=0.0, duration_s=10.0, where="x.yaml:3: faults[0]")


def test_a_plan_within_its_limits_is_taken() -> None:
    assert exceeded(Limits(), mf01_plan(time_scale=1.0).steps, 20) == []


@pytest.mark.parametrize(
    ("steps", "users", "said"),
    [
        ([replace(STEP, duration_s=901.0)], 1, "x.yaml:3: faults[0]: 901 s, at most 900 s"),
        ([replace(STEP, at_s=3590.0, duration_s=11.0)], 1, "3601 s in all, at most 3600 s"),
        ([STEP], 1001, "1001 users, at most 1000"),
        ([replace(STEP, at_s=float(n)) for n in range(9)], 1, "9 faults at once, at most 8"),
    ],
)
def test_a_plan_beyond_them_is_refused(steps: list, users: int, said: str) -> None:  # type: ignore[type-arg]
    assert said in exceeded(Limits(), steps, users)[0]
    lifted = Limits().lifted({"fault_s_max": 5000, "run_s_max": 9000, "users_max": 2000, "faults_at_once_max": 20})
    assert exceeded(lifted, steps, users) == []


@pytest.mark.parametrize(
    ("unsafe", "said"),
    [
        ({"user_max": 5}, "Did you mean 'users_max'?"),
        ({"users_max": "many"}, "a number"),
        ({"users_max": -1}, "from 0"),
    ],
)
def test_a_limit_that_cannot_be_lifted_so(unsafe: dict, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(LimitError, match=None) as caught:
        Limits().lifted(unsafe)
    assert said in str(caught.value)


def test_the_floors() -> None:
    assert below_floor(Limits(), 257.0, 513.0) == ""
    assert "255 MB of memory" in below_floor(Limits(), 255.0, 513.0)
    assert "511 MB of the disk" in below_floor(Limits(), 257.0, 511.0)
    assert free_memory_mb() > 0


def test_the_harness_its_guardian_and_its_parents_are_never_a_target() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        for pid, own in ((os.getpid(), []), (os.getppid(), []), (child.pid, [child.pid])):
            process = read_process(pid)
            assert process is not None
            assert "the harness itself" in protected(Undo(primitives=(resume(process),)), own)
        process = read_process(child.pid)
        assert process is not None and protected(Undo(primitives=(resume(process),)), []) == ""
    finally:
        child.communicate()


def test_what_a_fault_takes_is_limited(tmp_path: Path) -> None:
    target = PaperTarget(paths={"root": tmp_path})
    total_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    memory = MemoryPressure(memory_percent=50, duration_seconds=5)
    assert memory.taken_mb(target) == pytest.approx(total_mb / 2)
    free_mb = shutil.disk_usage(tmp_path).free / 2**20
    assert DiskFull(path="root", duration_seconds=5).taken_mb(target) == pytest.approx(free_mb, rel=0.2)
    assert DiskFull(path="root", duration_seconds=5, mount_mib=7).taken_mb(target) == 7
    limits = Limits().lifted({"taken_mb_max": 100})
    assert "it would take" in takes_too_much(limits, memory, target)
    assert takes_too_much(limits, DiskFull(path="root", duration_seconds=5, mount_mib=7), target) == ""
    assert takes_too_much(limits, object(), target) == "", "nothing worth a limit"
