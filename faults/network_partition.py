"""Network partition: a kernel can be dialled, and nothing passes: neither answers nor errors come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faults.helpers import link
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class NetworkPartition:
    """Swallows everything that is sent on the link *target* (a callee, or CALLER->CALLEE).

    Callers find out by their time-outs only. Calls that were under way before the fault end undisturbed on the old
    connection. Measured by the proxy: the share of the requests that it has swallowed; without one, not attained.
    """

    target: str
    duration_seconds: float

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0

    witness: ClassVar[str] = "the share of probes without an answer, which the harness sends through the link"

    @property
    def subject(self) -> str:
        return link.callee(self.target)

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="swallowed", value=100.0, unit="%", tolerance=0.5)

    def prepare(self, target: Target) -> Undo:
        return link.prepare(target, self.target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        return link.inject(target, self.target, undo, hands, self.duration_seconds, {"hole": True})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return link.witness(target, self.target, undo, "lost")

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return link.sample(undo, effect, hands, "dropped_percent")


FAULT = NetworkPartition
