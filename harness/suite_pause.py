"""Between two scenarios: waits until the machine is quiet, and a target that stays is well again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from harness.model import Slo

QUIET_S = 3.0
QUIET_LIMIT_S = 30.0
LOOK_S = 0.5


@dataclass(frozen=True, kw_only=True)
class Pause:
    """How long it took, and what was still not well at the end: "" for nothing."""

    waited_s: float
    because: str = ""


async def pause(
    unwell: Callable[[], str],
    busy_percent: Callable[[], float] | None = None,
    quiet_s: float = QUIET_S,
    limit_s: float = QUIET_LIMIT_S,
) -> Pause:
    """Until nothing is wrong for *quiet_s*, or *limit_s* have passed: the next baseline then judges for itself."""
    busy = busy_percent or Busy().percent
    started_s = trouble_s = time.monotonic()
    because = "not yet looked at"
    while True:
        await asyncio.sleep(LOOK_S)
        because = _trouble(busy()) or await asyncio.to_thread(unwell)
        now_s = time.monotonic()
        if because:
            trouble_s = now_s
        if now_s - trouble_s >= quiet_s or now_s - started_s >= limit_s:
            return Pause(waited_s=round(now_s - started_s, 1), because=because)


def _trouble(busy_percent: float) -> str:
    most = Slo().baseline_cpu_percent_max
    return f"the machine is busy to {busy_percent:.0f} %" if busy_percent > most else ""


class Busy:
    """How busy the machine was since the last look; reads no state that the caller's own psutil keeps."""

    def __init__(self) -> None:
        self._last = psutil.cpu_times()

    def percent(self) -> float:
        now, last = psutil.cpu_times(), self._last
        self._last = now
        # guest time is in user time already
        total = sum(now[:8]) - sum(last[:8])
        idle = now.idle + now.iowait - last.idle - last.iowait
        return 100.0 * (total - idle) / total if total > 0 else 0.0
