"""The load generator's own health: how late its event loop is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import ClassVar

from harness.contracts import Target, View
from harness.model import Reading

NAP_S = 0.01
LOOK_S = 0.4


def worst_lag_ms() -> float:
    """The longest that a greenlet which wanted to sleep NAP_S was kept waiting beyond that, within LOOK_S."""
    worst_s, until_s = 0.0, time.monotonic() + LOOK_S
    while (start_s := time.monotonic()) < until_s:
        time.sleep(NAP_S)
        worst_s = max(worst_s, time.monotonic() - start_s - NAP_S)
    return 1000 * worst_s


class LoopLag:
    """loop_lag_ms: worst_lag_ms() of the process that judges; each worker sends its own."""

    every_s: ClassVar[float] = 0.0

    def __init__(self, target: Target) -> None:
        pass

    def observe(self, view: View) -> Iterable[Reading]:
        lag_ms = worst_lag_ms()
        yield Reading(at_s=view.now_s(), name="loop_lag_ms", value=lag_ms)

    def close(self) -> None:
        pass


OBSERVER = LoopLag
