"""How busy the machine is: CPU from the kernel's run-time clock, memory, the busiest disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from harness import cpu_clock
from harness.cgroup import CgroupError, used_percent
from harness.contracts import Target, View
from harness.cpu_clock import CpuClock
from harness.model import Reading

BEFORE_S, STEP_S = 10.0, 0.5


class Resources:
    """cpu_percent, memory_percent, disk_busy_percent, each over the time since the last reading.

    memory_percent is told of the machine, and with the subject "target" of the memory cgroup that the manifest names.
    cpu_percent_before is of the seconds before the run, told once: a safeguard that engages as a run begins has seen
    those too.
    """

    every_s: ClassVar[float] = 0.5

    def __init__(self, target: Target) -> None:
        cpu_clock.note()
        self.clock = CpuClock()
        self.group = target.paths.get("memory_cgroup")
        self._at_s, self._busy_s, self._io_ms = time.monotonic(), self.clock.busy_s(), io_ms()
        self._told_before = False

    def observe(self, view: View) -> Iterable[Reading]:
        now_s, busy_s, io = time.monotonic(), self.clock.busy_s(), io_ms()
        elapsed_s = now_s - self._at_s
        if elapsed_s < 0.05:
            return
        if not self._told_before:
            self._told_before = True
            yield from self._before(view, now_s)
        cpu = 100 * (busy_s - self._busy_s) / elapsed_s / self.clock.cores
        busiest = max((io[name] - self._io_ms.get(name, io[name]) for name in io), default=0)
        self._at_s, self._busy_s, self._io_ms = now_s, busy_s, io
        at_s = view.now_s()
        yield Reading(at_s=at_s, name="cpu_percent", value=min(100.0, cpu))
        yield Reading(at_s=at_s, name="memory_percent", value=memory_percent())
        if self.group is not None:
            with contextlib.suppress(CgroupError, OSError):  # gone, or without a limit: then nothing is told of it
                yield Reading(at_s=at_s, name="memory_percent", subject="target", value=used_percent(self.group))
        yield Reading(at_s=at_s, name="disk_busy_percent", value=min(100.0, busiest / 10 / elapsed_s))

    def _before(self, view: View, now_s: float) -> Iterable[Reading]:
        """What was noted of the BEFORE_S before now, a value for each STEP_S of it."""
        to_run_s = view.now_s() - now_s
        for began_s, ended_s, percent in cpu_clock.noted(now_s - BEFORE_S):
            steps = max(1, round((ended_s - began_s) / STEP_S))
            for step in range(steps):
                at_s = ended_s - (ended_s - began_s) * (steps - 1 - step) / steps
                yield Reading(at_s=at_s + to_run_s, name="cpu_percent_before", value=percent)

    def close(self) -> None:
        pass


def memory_percent() -> float:
    rows = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(rows[name].split()[0]) for name in ("MemTotal", "MemAvailable"))
    return 100 * (1 - free / total)


def io_ms() -> dict[str, int]:
    """Milliseconds in which each block device had work (field 13 of /proc/diskstats)."""
    rows = (line.split() for line in Path("/proc/diskstats").read_text().splitlines())
    return {row[2]: int(row[12]) for row in rows}


OBSERVER = Resources
