"""How long the machine's cores have been busy, from the most exact clock that this kernel offers.

/proc/stat counts timer ticks and misreads a process that sleeps in step with them, so it comes last; the root
cpu.stat of cgroup v2 is made from the same ticks.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

CGROUP_V1 = Path("/sys/fs/cgroup/cpuacct/cpuacct.usage")
CGROUP_V2 = Path("/sys/fs/cgroup/cpu.stat")
SCHEDSTAT = Path("/proc/schedstat")
STAT = Path("/proc/stat")


class CpuClock:
    """busy_s(): seconds that all cores together have run tasks. *name* says which clock it is.

    Time that the hypervisor took away (steal) is not busy; neither is waiting for a disk.
    """

    def __init__(self) -> None:
        self.cores = os.cpu_count() or 1
        self._read, self.name = self._choose()

    def busy_s(self) -> float:
        return self._read()

    def _choose(self):  # type: ignore[no-untyped-def]
        for read, name in (
            (_cpuacct, "cpuacct.usage of the root cgroup"),
            (_schedstat, "/proc/schedstat"),
            (_cpu_stat, "cpu.stat of the root cgroup"),
            (_proc_stat, "/proc/stat"),
        ):
            try:
                if read() > 0:
                    return read, name
            except (OSError, ValueError, IndexError):
                continue
        raise OSError("no clock of the CPU can be read: neither cgroup, /proc/schedstat nor /proc/stat")


_NOTES: deque[tuple[float, float]] = deque(maxlen=50)  # (time.monotonic, busy_s), of this process


def note() -> None:
    """Keep how long the cores have been busy until now: what happens before a run begins is then known to the run."""
    with contextlib.suppress(OSError):  # who cannot read the clock is told so where it is needed
        _NOTES.append((time.monotonic(), CpuClock().busy_s()))


def noted(since_s: float) -> Iterator[tuple[float, float, float]]:
    """(began_s, ended_s, percent of all cores) between two notes each, in time.monotonic, from *since_s* on."""
    cores = os.cpu_count() or 1
    for (began_s, busy_s), (ended_s, later_s) in pairwise(tuple(_NOTES)):
        if began_s >= since_s and ended_s > began_s:
            yield began_s, ended_s, min(100.0, 100 * (later_s - busy_s) / (ended_s - began_s) / cores)


def _cpuacct() -> float:
    return int(CGROUP_V1.read_text()) / 1e9


def _cpu_stat() -> float:
    for line in CGROUP_V2.read_text().splitlines():
        key, _, value = line.partition(" ")
        if key == "usage_usec":
            return int(value) / 1e6
    raise ValueError("cpu.stat has no usage_usec")


def _schedstat() -> float:
    total = 0
    for line in SCHEDSTAT.read_text().splitlines():
        fields = line.split()
        if fields and fields[0].startswith("cpu"):
            total += int(fields[7])
    return total / 1e9


def _proc_stat() -> float:
    fields = STAT.read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(value) for value in fields[:7])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
