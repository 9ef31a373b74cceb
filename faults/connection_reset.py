"""Connection reset: connections to a kernel break in mid-request, as when something between keeps restarting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from faults.helpers import link
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class ConnectionReset:
    """Answers *reset_percent* of the requests on the link *target* by a TCP reset of their connection.

    All that waits on that connection is lost along. Calls that were under way before the fault end undisturbed on
    the old connection. Measured by the proxy's counts, after three rounds of 100 / reset_percent requests.
    """

    target: str
    reset_percent: float = 100.0
    duration_seconds: float

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0

    witness: ClassVar[str] = "the share of the harness's own connections through the link that break"

    @property
    def subject(self) -> str:
        return link.callee(self.target)

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="reset", value=self.reset_percent, unit="%", tolerance=self.reset_percent * 0.1)

    def prepare(self, target: Target) -> Undo:
        return link.prepare(target, self.target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        arguments = {"reset_percent": self.reset_percent}
        return link.inject(target, self.target, undo, hands, self.duration_seconds, arguments)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return link.witness(target, self.target, undo, "reset")

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        return link.sample(undo, effect, hands, "reset_percent")


FAULT = ConnectionReset
