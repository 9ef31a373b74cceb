"""A kernel's side of the dependency latency monitor: tells of its calls, and tries those that are in doubt."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from twin.call_stats import CallSummary
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable

if TYPE_CHECKING:
    from twin.kernel import Kernel

TRY_EVERY_S = 0.25
TELL_EVERY = 2  # so many tries
TELL_LIMIT_S = 0.8
TRY_LIMIT_S = 1.0
TRIES_AT_ONCE_MAX = 8  # of one callee: a way that swallows everything holds each for TRY_LIMIT_S
LAG_WINDOW_S = 3.0
WATCHED_BY = "health_monitor"
# What the gateway can answer for without the kernel itself: see twin/http/knowledge_copy.py.
BYPASSED = ("memory_fusion",)


class Teller:
    """run() for as long as the kernel lives."""

    def __init__(self, kernel: Kernel, watched: tuple[str, ...]) -> None:
        self.kernel = kernel
        self.watched = watched  # the callees that are told of; another may take as long as it wants
        self.doubtful: list[str] = []
        self.lags: list[tuple[float, float]] = []
        self.trying: dict[str, int] = {}
        self.telling = False

    async def run(self) -> None:
        number = 0
        while True:
            due_s = time.monotonic() + TRY_EVERY_S
            await asyncio.sleep(TRY_EVERY_S)
            now_s = time.monotonic()
            self.lags = [one for one in self.lags if one[0] > now_s - LAG_WINDOW_S] + [(now_s, now_s - due_s)]
            for callee in self.doubtful:
                if self.trying.get(callee, 0) < TRIES_AT_ONCE_MAX:
                    self.kernel.spawn(self._try(callee))
            number += 1
            if number % TELL_EVERY == 0 and not self.telling:
                self.kernel.spawn(self._tell(now_s))

    async def _try(self, callee: str) -> None:
        """Its outcome is noted like that of any call."""
        self.trying[callee] = self.trying.get(callee, 0) + 1
        await self._call(callee, "ping", {}, TRY_LIMIT_S)
        self.trying[callee] -= 1

    async def _tell(self, now_s: float) -> None:
        self.telling = True
        summaries = self.kernel.rpc.stats.summaries(now_s).items()
        told = {callee: asdict(summary) for callee, summary in summaries if callee in self.watched}
        lag_ms = 1000 * max(lag_s for _, lag_s in self.lags)
        payload = {"caller": self.kernel.name, "lag_ms": lag_ms, "calls": told}
        if self.kernel.name == WATCHED_BY:
            answer: dict[str, Any] | None = await self.kernel.handle("calls", payload)
        else:
            answer = await self._call(WATCHED_BY, "calls", payload, TELL_LIMIT_S)
        self.doubtful = [callee for callee in answer["doubtful"] if callee in self.watched] if answer else []
        self.telling = False

    async def _call(self, callee: str, op: str, payload: dict[str, Any], limit_s: float) -> dict[str, Any] | None:
        """None without an answer."""
        try:
            return await self.kernel.rpc.call(callee, op, payload, limit_s)
        except (KernelTimeout, KernelUnavailable, KernelError):
            return None


def heard(payload: dict[str, Any]) -> tuple[str, float, dict[str, CallSummary]]:
    """(caller, its lag in ms, its calls) of what a Teller told."""
    calls = {callee: CallSummary(**row) for callee, row in payload["calls"].items()}
    return payload["caller"], float(payload["lag_ms"]), calls
