"""CPU spike: the machine is busy to a given degree, whatever the others take of it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from faults.helpers.reading import helper_facts, sample_mean
from faults.helpers.witness import Rate
from harness.contracts import Hands, Target, TargetLacks, Witness
from harness.cpu_clock import CpuClock
from harness.model import Effect, Magnitude, Sample, Undo

CORE_PERCENT = 90.0
BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it


@dataclass(frozen=True, kw_only=True)
class CpuSpike:
    """Holds the machine's busy share at *cpu_percent* of all cores for *duration_seconds*.

    Or that of *cores*, each nearly busy (CORE_PERCENT), which is their share of the machine's: the last few percent
    of every core are left to whoever else must run, this harness among them.

    Always of the machine: a target has a share of the CPU of its own only under a quota, and then it is the quota
    that throttles it, not this fault. There is no `scope: target` that would be true.
    """

    target: str = "machine"
    duration_seconds: float
    cpu_percent: float = 0.0
    cores: float = 0.0

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0
    defaults: ClassVar[Mapping[str, Any]] = {"cpu_percent": 90, "duration_seconds": 45}

    witness: ClassVar[str] = "the kernel's clock of busy cores, read by the harness"

    def __post_init__(self) -> None:
        if (self.cpu_percent > 0) == (self.cores > 0):
            raise ValueError("cpu_percent: either cpu_percent or cores is expected, above 0")

    @property
    def subject(self) -> str:
        return "cpu"

    @property
    def percent(self) -> float:
        """Of all cores of this machine."""
        return self.cpu_percent or min(1.0, self.cores / (os.cpu_count() or 1)) * CORE_PERCENT

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="cpu", value=self.percent, unit="%", tolerance=5.0)

    def prepare(self, target: Target) -> Undo:
        if self.cores > (os.cpu_count() or 1):
            raise TargetLacks(f"{self.cores:g} cores are asked for, and this machine has {os.cpu_count()}")
        return Undo()  # the helper is all that there is to undo, and the guardian adds that itself

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        helper = hands.start_helper(
            "faults.helpers.cpu_pacer",
            {"cpu_percent": self.percent, "limit_s": self.duration_seconds + BELT_S},
        )
        return Effect(facts={"mechanism": "one pacer process a core", **helper_facts(helper)})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        clock = CpuClock()
        return Rate(lambda _: (time.monotonic(), clock.busy_s()), scale=100 / clock.cores)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return sample_mean(effect, hands, "busy_percent", window_s=1.0)


FAULT = CpuSpike
