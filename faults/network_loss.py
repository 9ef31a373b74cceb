"""Network loss: some of what is asked of a kernel never comes to it, and nobody says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faults.helpers import link
from harness.contracts import Hands, Target, TargetLacks, Witness
from harness.model import Effect, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class NetworkLoss:
    """Drops *loss_percent* of the requests on the link *target* (a callee, or CALLER->CALLEE).

    Whole requests, one at a random place of each round of 100 / loss_percent: half a message lost would be another
    fault. So the link's framing must be known. Measured by the proxy's counts, after three rounds.
    """

    target: str
    loss_percent: float
    duration_seconds: float

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0

    witness: ClassVar[str] = "the share of probes without an answer, which the harness sends through the link"

    @property
    def subject(self) -> str:
        return link.callee(self.target)

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="lost", value=self.loss_percent, unit="%", tolerance=self.loss_percent * 0.1)

    def prepare(self, target: Target) -> Undo:
        if not link.find_link(target, self.target).framing:
            raise TargetLacks(f"network_loss: the framing of the link {self.target!r} is not known")
        return link.prepare(target, self.target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        arguments = {"drop_percent": self.loss_percent}
        return link.inject(target, self.target, undo, hands, self.duration_seconds, arguments)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return link.witness(target, self.target, undo, "lost")

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return link.sample(undo, effect, hands, "dropped_percent")


FAULT = NetworkLoss
