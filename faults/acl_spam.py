"""ACL spam: an actor without rights sends a number of messages on a topic that is not its own, and then no more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from faults.helpers import flooding
from faults.helpers.reading import sample_mean
from harness.contracts import Hands, Target, Witness
from harness.model import Effect, Hold, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class AclSpam:
    """Sends *messages* to *topic* as *actor*, *messages_per_second* of them.

    Asked and measured is how many the bus has refused, for whatever reason: a message that it took was none that is
    forbidden, and one that it left without a word has not arrived. It ends when each has its refusal. It is slow on
    purpose: beside the messages go canaries to the open topic, which show when the actor is cut off.
    """

    topic: str
    messages: int
    messages_per_second: float = 20.0
    actor: str = "spammer"
    target: str = "message_bus"

    duration_field: ClassVar[str] = ""
    min_duration_s: ClassVar[float] = 0.0

    witness: ClassVar[str] = "the bus's own count of refused messages"

    def __post_init__(self) -> None:
        if self.messages != int(self.messages):
            raise ValueError(f"messages: a whole number is expected, not {self.messages!r}")

    @property
    def limit_s(self) -> float:
        return self.messages / self.messages_per_second + flooding.BELT_S

    @property
    def attain_limit_s(self) -> float:
        return self.limit_s

    @property
    def subject(self) -> str:
        return self.actor

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="refused", value=float(self.messages), unit="messages", tolerance=0.0)

    @property
    def also_asked(self) -> tuple[Magnitude, ...]:
        rate = self.messages_per_second
        return (Magnitude(name="rate", value=rate, unit="msg/s", tolerance=rate * 0.05),)

    def prepare(self, target: Target) -> Undo:
        return flooding.prepare(target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        more = {"messages": self.messages, "limit_s": self.limit_s + flooding.BELT_S}
        module, topics = "faults.helpers.acl_flooder", (self.topic,)
        return flooding.inject(target, hands, module, self.actor, topics, self.messages_per_second, more)

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return flooding.counted(target, flooding.VIOLATIONS)

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        measured = sample_mean(effect, hands, "rate", window_s=1.0)
        if measured.achieved is not None:
            refused = float(measured.detail.get("refused", 0))
            done = refused >= self.messages and measured.hold is Hold.HOLDS
            because = measured.because or f"the bus has refused {refused:.0f} of {self.messages} messages"
            hold = Hold.DONE if done else measured.hold
            measured = replace(
                measured, detail=flooding.with_rate(measured.detail), achieved=refused, hold=hold, because=because
            )
        return flooding.judged(measured, float(self.messages))


FAULT = AclSpam
