"""ACL flood: an actor without rights floods the message bus with messages that it may not send."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from faults.helpers import flooding
from faults.helpers.reading import sample_mean
from faults.helpers.witness import Rate, counter
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Magnitude, Sample, Undo

TOPICS = ("kernel.memory", "kernel.governance", "system.control")


@dataclass(frozen=True, kw_only=True)
class AclFlood:
    """Hands *messages_per_second* forbidden messages to the bus as *blocked_actor* for *duration_seconds*.

    Measured is what the socket really took. When it has dropped more than 1 % of all that the flood is to send, the
    magnitude can no longer be what was asked for, and the fault is lost.
    """

    target: str = "message_bus"
    messages_per_second: float
    duration_seconds: float
    blocked_actor: str

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0

    defaults: ClassVar[Mapping[str, Any]] = {
        "messages_per_second": 1000,
        "duration_seconds": 45,
        "blocked_actor": "rogue_kernel",
    }

    witness: ClassVar[str] = "the bus's own count of refused messages"

    @property
    def subject(self) -> str:
        return self.blocked_actor

    @property
    def asked(self) -> Magnitude:
        rate = self.messages_per_second
        return Magnitude(name="rate", value=rate, unit="msg/s", tolerance=rate * 0.05)

    def prepare(self, target: Target) -> Undo:
        return flooding.prepare(target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        more = {"limit_s": self.duration_seconds + flooding.BELT_S}
        module, actor = "faults.helpers.acl_flooder", self.blocked_actor
        return flooding.inject(target, hands, module, actor, TOPICS, self.messages_per_second, more)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return Rate(counter(target, flooding.VIOLATIONS))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        measured = sample_mean(effect, hands, "rate", window_s=1.0)
        return flooding.judged(measured, self.messages_per_second * self.duration_seconds)


FAULT = AclFlood
