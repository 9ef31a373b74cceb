"""CPU spike: the machine is busy to a given degree, whatever the others take of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faults.helpers.reading import helper_facts, sample_mean
from harness.contracts import Hands, Target
from harness.model import Effect, Magnitude, Sample, Undo

BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it


@dataclass(frozen=True, kw_only=True)
class CpuSpike:
    """Holds the machine's busy share at *cpu_percent* of all cores for *duration_seconds*.

    Always of the machine: a target has a share of the CPU of its own only under a quota, and then it is the quota
    that throttles it, not this fault. There is no `scope: target` that would be true.
    """

    target: str = "machine"
    cpu_percent: float
    duration_seconds: float

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0

    @property
    def subject(self) -> str:
        return "cpu"

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="cpu", value=self.cpu_percent, unit="%", tolerance=5.0)

    def prepare(self, target: Target) -> Undo:
        return Undo()  # the helper is all that there is to undo, and the guardian adds that itself

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        helper = hands.start_helper(
            "faults.helpers.cpu_pacer",
            {"cpu_percent": self.cpu_percent, "limit_s": self.duration_seconds + BELT_S},
        )
        return Effect(facts={"mechanism": "one pacer process a core", **helper_facts(helper)})

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return sample_mean(effect, hands, "busy_percent", window_s=1.0)


FAULT = CpuSpike
