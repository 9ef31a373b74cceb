"""Memory leak: somebody takes a little more memory at every moment and gives none of it back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faults.helpers.process_witness import anonymous_mb, process_in
from faults.helpers.reading import helper_facts, sample_mean
from faults.helpers.witness import Level
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo
from harness.primitives.kill_marked import TERM_S_MAX, kill_marked

SLACK_S = 20.0  # beyond its own time to reach its size, on a machine that has never touched this memory
BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it


@dataclass(frozen=True, kw_only=True)
class MemoryLeak:
    """Takes *megabytes* of real memory evenly over *over_seconds*, and then holds all of it as long again.

    A helper process leaks beside the target, on the same machine, in an even slope. Measured is what it really holds.
    512 MiB of the machine always stay available: what would go beyond that is not taken, and said so.
    """

    megabytes: float
    over_seconds: float
    target: str = "machine"

    duration_field: ClassVar[str] = "over_seconds"
    min_duration_s: ClassVar[float] = 5.0

    witness: ClassVar[str] = "the helper's anonymous memory in /proc, read by the harness"

    @property
    def subject(self) -> str:
        return "memory"

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="held", value=self.megabytes, unit="MB", tolerance=self.megabytes * 0.05)

    @property
    def attain_limit_s(self) -> float:
        return self.over_seconds + SLACK_S

    def taken_mb(self, target: Target) -> float:
        return self.megabytes

    def prepare(self, target: Target) -> Undo:
        # told first: it is gone only when the kernel has its memory back
        return Undo(primitives=(kill_marked("", term_s=TERM_S_MAX),))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        arguments = {
            "megabytes": self.megabytes,
            "over_s": self.over_seconds,
            "limit_s": 2 * self.over_seconds + SLACK_S + BELT_S,
        }
        helper = hands.start_helper("faults.helpers.memory_leaker", arguments)
        return Effect(facts={"mechanism": "anonymous pages of one helper process", **helper_facts(helper)})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return Level(lambda effect: anonymous_mb(process_in(effect)))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return sample_mean(effect, hands, "held_mb", window_s=0.5)


FAULT = MemoryLeak
