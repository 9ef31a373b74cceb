"""Calls to kernels through a dependency breaker: refused at once while a kernel is away, tried by one probe."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twin.call_stats import CallStats
from twin.kernels import KERNELS
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable, RpcClient
from twin.safeguards.dependency_breaker import DependencyBreaker

if TYPE_CHECKING:
    from twin.incidents import Incidents
    from twin.kernel import Kernel

LOOK_EVERY_S = 0.25
PROBE_LIMIT_S = 1.0
PATIENT_S = 1.0  # who waits for less than this says nothing of the callee when the time is up
RETRY_AFTER_S = 1


class BreakingClient(RpcClient):
    """An RpcClient on connections of its own, so that no probe waits behind what is broken.

    Only kernels are guarded: what tells of the platform's state is always asked. *stats*: where outcomes are noted.
    """

    def __init__(self, run_dir: Path, caller: str, breaker: DependencyBreaker, stats: CallStats) -> None:
        super().__init__(run_dir, caller)
        self.stats = stats
        self.breaker = breaker
        self._under_way: dict[str, set[asyncio.Task[Any]]] = defaultdict(set)
        self._cut: set[asyncio.Task[Any]] = set()

    async def call(self, kernel: str, op: str, payload: dict[str, Any], timeout_s: float = 2.0) -> dict[str, Any]:
        """Raises KernelError 503 at once while the way to *kernel* is open; else as RpcClient does."""
        if kernel not in KERNELS:
            return await super().call(kernel, op, payload, timeout_s)
        turn = self.breaker.admit(kernel)
        if turn is None:
            raise KernelError(503, "kernel_away", kernel=kernel, retry_after_s=RETRY_AFTER_S)
        began_s = time.monotonic()
        answered: bool | None = None
        task = asyncio.current_task()
        assert task is not None
        self._under_way[kernel].add(task)
        try:
            result = await super().call(kernel, op, payload, timeout_s)
            answered = True
            return result
        except KernelError:
            answered = True  # a refusal is an answer
            raise
        except (KernelTimeout, KernelUnavailable):
            answered = None if timeout_s < PATIENT_S else False
            raise
        except asyncio.CancelledError:
            if task not in self._cut:
                raise
            task.uncancel()
            self._note(kernel, began_s, answered=False)
            raise KernelTimeout(kernel) from None
        finally:
            self._under_way[kernel].discard(task)
            self._cut.discard(task)
            self.breaker.ended(time.monotonic(), kernel, turn, answered)

    def cut(self, kernel: str) -> None:
        """Who waits for *kernel* need not wait out the time limit: it may have the request or not, as after one."""
        for task in self._under_way[kernel]:
            self._cut.add(task)
            task.cancel()


async def keep_breaker(kernel: Kernel, calls: BreakingClient, incidents: Incidents) -> None:
    """For as long as *kernel* lives: tells what the breaker does, and makes its probes."""
    breaker = calls.breaker

    async def probe(callee: str) -> None:
        answered = False
        try:
            await kernel.rpc.call(callee, "ping", {}, PROBE_LIMIT_S)
            answered = True
        except (KernelTimeout, KernelUnavailable, KernelError):
            pass
        finally:  # whatever became of it: without an answer to this one no other is made
            breaker.probed(callee, answered)

    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        for change in breaker.tick():
            if not change.opened:
                incidents.release(change.callee, change.reason, change.details)
                continue
            calls.cut(change.callee)
            kernel.log.warning("%s does not answer: calls to it are refused until it does", change.callee)
            if change.callee not in incidents.open:
                await incidents.engage(change.callee, breaker.playbook, change.reason, change.details)
        for callee in breaker.unprobed():
            kernel.spawn(probe(callee))
