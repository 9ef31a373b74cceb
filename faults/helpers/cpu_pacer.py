"""Keeps the machine busy to a given degree: one pacer process a core, `python -m faults.helpers.cpu_pacer JSON`.

Each pacer follows a cumulative budget of CPU time: every period it burns what is missing between the asked busy
time and what all others of the machine have used (feed-forward, from the kernel's own run-time clocks) plus what
it has burned itself. An error of one period is made good in the next, so the mean does not drift. Periods have a
random length, so that a tick-driven sampler does not see one phase only.

The parent writes a row every 0.25 s: {at, busy_percent, own_percent, others_percent, clock, pressure}.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import signal
import sys
import time
from typing import Any

from faults.helpers.telling import ROW_EVERY_S, tell
from harness.cpu_clock import CpuClock

PERIOD_S = (0.02, 0.04)
GAIN_SUM = 0.3
PR_SET_PDEATHSIG = 1


def burn(cpu_s: float) -> None:
    """Uses *cpu_s* seconds of this process's CPU clock."""
    end = time.process_time() + cpu_s
    number = 1
    while time.process_time() < end:
        for _ in range(200):
            number = number * 1103515245 + 12345 & 0x7FFFFFFF


def pace(cpu_percent: float, cores: int, deadline_s: float, clock: CpuClock, core: int) -> None:
    """One core's pacer: burns 1/cores of what is missing to *cpu_percent* of the machine, until *deadline_s*."""
    os.sched_setaffinity(0, {core})
    generator = random.Random(core)
    at_s, busy_s, own_s = time.monotonic(), clock.busy_s(), time.process_time()
    debt_s = 0.0
    others_share = 0.0
    while (now_s := time.monotonic()) < deadline_s:
        elapsed_s = now_s - at_s
        if elapsed_s > 0:
            busy_now_s, own_now_s = clock.busy_s(), time.process_time()
            achieved_s = busy_now_s - busy_s
            wanted_s = cpu_percent / 100 * cores * elapsed_s
            # what was missed is made good, within a period's worth; the pacers share it
            debt_s = max(-0.1, min(0.1, debt_s + GAIN_SUM * (wanted_s - achieved_s) / cores))
            others = max(0.0, achieved_s - cores * (own_now_s - own_s)) / elapsed_s / cores
            others_share += 0.3 * (others - others_share)
            at_s, busy_s, own_s = now_s, busy_now_s, own_now_s
        period_s = generator.uniform(*PERIOD_S)
        share = max(0.0, min(1.0, cpu_percent / 100 - others_share))
        work_s = max(0.0, min(period_s, share * period_s + debt_s))
        burn(work_s)
        rest_s = now_s + period_s - time.monotonic()
        if rest_s > 0:
            time.sleep(rest_s)


def die_with(parent_pid: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:
        os._exit(1)


def report(clock: CpuClock, cores: int, deadline_s: float, children: list[int]) -> None:
    """Writes what was reached until the time is up; ends in error when a pacer dies."""
    at_s, busy_s, own_s = time.monotonic(), clock.busy_s(), _cpu_of(children)
    while time.monotonic() < deadline_s:
        time.sleep(ROW_EVERY_S)
        for child in children:
            if os.waitpid(child, os.WNOHANG) != (0, 0) and time.monotonic() < deadline_s:
                sys.exit("a pacer process has ended before its time")
        now_s, busy_now_s, own_now_s = time.monotonic(), clock.busy_s(), _cpu_of(children)
        scale = 100 / cores / (now_s - at_s)
        busy, own = (busy_now_s - busy_s) * scale, (own_now_s - own_s) * scale
        tell(
            busy_percent=round(busy, 2),
            own_percent=round(own, 2),
            others_percent=round(busy - own, 2),
            clock=clock.name,
        )
        at_s, busy_s, own_s = now_s, busy_now_s, own_now_s


def _cpu_of(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        total += time.clock_gettime(_cpu_clock_id(pid))
    return total


def _cpu_clock_id(pid: int) -> int:
    """clock_getcpuclockid(3): the clock that counts the CPU time of another process."""
    return (~pid << 3) | 2


def main() -> None:
    arguments: dict[str, Any] = json.loads(sys.argv[1])
    cores = sorted(os.sched_getaffinity(0))
    clock = CpuClock()
    deadline_s = time.monotonic() + float(arguments["limit_s"])
    me = os.getpid()
    children = []
    for core in cores:
        child = os.fork()
        if child == 0:
            die_with(me)
            try:
                pace(float(arguments["cpu_percent"]), len(cores), deadline_s, clock, core)
            finally:
                os._exit(0)
        children.append(child)
    report(clock, len(cores), deadline_s, children)


if __name__ == "__main__":
    main()
