"""What no run may exceed, and what must stay free while faults are in force."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from harness.catalog import nearest
from harness.model import Step, Undo
from harness.process import ancestors

MB = 1 << 20


class LimitError(Exception):
    """A limit that does not exist, or a value that cannot be one."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The shipped limits. A scenario lifts one by name under `unsafe:`, which stands in its journal and report."""

    fault_s_max: float = 900.0
    run_s_max: float = 3600.0
    users_max: float = 1000.0
    faults_at_once_max: float = 8.0
    taken_mb_max: float = 65536.0
    free_memory_mb_min: float = 256.0
    free_disk_mb_min: float = 512.0

    def lifted(self, unsafe: Mapping[str, float]) -> Limits:
        """With the values that *unsafe* gives. Raises LimitError with the nearest known name."""
        known = {one.name for one in fields(self)}
        for name, value in unsafe.items():
            if name not in known:
                raise LimitError(f"no limit is called {name!r}.{nearest(name, known)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e9:
                raise LimitError(f"{name}: a number from 0 is expected, not {value!r}")
        return replace(self, **{name: float(value) for name, value in unsafe.items()})


def exceeded(limits: Limits, steps: Sequence[Step], users: int) -> list[str]:
    """What a plan asks for beyond its limits, each with the place that asks."""
    found = []
    for step in steps:
        if step.duration_s > limits.fault_s_max:
            found.append(f"{step.where or step.step_id}: {step.duration_s:g} s, at most {limits.fault_s_max:g} s")
    end_s = max((step.at_s + step.duration_s for step in steps), default=0.0)
    if end_s > limits.run_s_max:
        found.append(f"the faults last {end_s:g} s in all, at most {limits.run_s_max:g} s are allowed")
    if users > limits.users_max:
        found.append(f"{users} users, at most {limits.users_max:g} are allowed")
    most = max((_at_once(steps, step.at_s) for step in steps), default=0)
    if most > limits.faults_at_once_max:
        found.append(f"{most} faults at once, at most {limits.faults_at_once_max:g} are allowed")
    return [f"{one}; `unsafe:` lifts a limit" for one in found]


def _at_once(steps: Sequence[Step], at_s: float) -> int:
    return sum(step.at_s <= at_s <= step.at_s + step.duration_s for step in steps)


def free_memory_mb() -> float:
    """What programs can still have (MemAvailable)."""
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(rows["MemAvailable"].split()[0]) / 1024


def free_disk_mb(folder: Path) -> float:
    return shutil.disk_usage(folder).free / MB


def below_floor(limits: Limits, memory_mb: float, disk_mb: float) -> str:
    """Which floor is broken, in words; "" for none."""
    if memory_mb < limits.free_memory_mb_min:
        return f"only {memory_mb:.0f} MB of memory are free, at least {limits.free_memory_mb_min:g} must be"
    if disk_mb < limits.free_disk_mb_min:
        return f"only {disk_mb:.0f} MB of the disk are free, at least {limits.free_disk_mb_min:g} must be"
    return ""


def takes_too_much(limits: Limits, fault: object, target: object) -> str:
    """Why a fault may not be injected: it would take more of a disk or of memory than it may; "" when it does not."""
    taken = getattr(fault, "taken_mb", None)
    taken_mb = float(taken(target)) if taken is not None else 0.0
    if taken_mb <= limits.taken_mb_max:
        return ""
    return f"it would take {taken_mb:.0f} MB, at most {limits.taken_mb_max:g} are allowed; `unsafe:` lifts a limit"


def protected(undo: Undo, own: Sequence[int]) -> str:
    """Why a fault with this undo may not be injected: it is aimed at what must live; "" when it may.

    *own* are the harness's pids beside itself: its guardian. Its parents are never a target either.
    """
    kept = {0, 1, os.getpid(), *own, *ancestors()}
    for primitive in undo.primitives:
        pid = primitive.get("pid")
        if pid is not None and int(pid) in kept:
            return f"pid {pid} is the harness itself, its guardian or one of its parents"
    return ""
