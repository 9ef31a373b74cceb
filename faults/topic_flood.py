"""Topic flood: an actor that may send to a topic of the message bus sends far too much to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from faults.helpers import flooding
from faults.helpers.reading import sample_mean
from faults.helpers.witness import Rate, counter
from harness.contracts import ATTAIN_LIMIT_S, Hands, Target, Witness
from harness.model import Effect, Hold, Magnitude, Sample, Undo


@dataclass(frozen=True, kw_only=True)
class TopicFlood:
    """Sends *messages_per_second* to the open *topic* as *actor*: *messages* in all, or for *duration_seconds*.

    Each message asks for the bus's word, and what is measured is what the bus has answered: how many messages, if
    their number is given, else how many a second. What it refused counts as well (that is the bus's to decide, and is
    told apart); what it left unanswered is dropped, and more than 1 % of that is a magnitude missed.
    """

    topic: str
    messages_per_second: float
    messages: int = 0
    duration_seconds: float = 0.0
    actor: str = "topic_flooder"
    target: str = "message_bus"

    min_duration_s: ClassVar[float] = 5.0

    witness: ClassVar[str] = "the bus's own count of the messages that came to it"

    def __post_init__(self) -> None:
        if (self.messages > 0) == (self.duration_seconds > 0):
            raise ValueError("messages: either messages or duration_seconds is expected, above 0")
        if self.messages != int(self.messages):
            raise ValueError(f"messages: a whole number is expected, not {self.messages!r}")

    @property
    def duration_field(self) -> str:
        return "" if self.messages else "duration_seconds"

    @property
    def limit_s(self) -> float:
        """Of one that is given by a count."""
        return self.messages / self.messages_per_second + flooding.BELT_S if self.messages else 0.0

    @property
    def attain_limit_s(self) -> float:
        return self.limit_s or ATTAIN_LIMIT_S

    @property
    def subject(self) -> str:
        return self.actor

    @property
    def asked(self) -> Magnitude:
        rate = self.messages_per_second
        if self.messages:
            return Magnitude(name="messages", value=float(self.messages), unit="", tolerance=0.01 * self.messages)
        return Magnitude(name="answered", value=rate, unit="msg/s", tolerance=rate * 0.05)

    @property
    def also_asked(self) -> tuple[Magnitude, ...]:
        rate = self.messages_per_second
        return (Magnitude(name="rate", value=rate, unit="msg/s", tolerance=rate * 0.05),) if self.messages else ()

    def prepare(self, target: Target) -> Undo:
        return flooding.prepare(target)

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        seconds = self.limit_s or self.duration_seconds
        more = {"messages": self.messages, "limit_s": seconds + flooding.BELT_S}
        module, topics = "faults.helpers.topic_flooder", (self.topic,)
        effect = flooding.inject(target, hands, module, self.actor, topics, self.messages_per_second, more)
        return replace(effect, facts={**effect.facts, "permitted": True})  # else the helper ends before its flood

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        if self.messages:
            return flooding.counted(target, flooding.MESSAGES)
        return Rate(counter(target, flooding.MESSAGES))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        measured = sample_mean(effect, hands, "rate", window_s=1.0)
        planned = float(self.messages) or self.messages_per_second * self.duration_seconds
        if self.messages and measured.achieved is not None:
            done = bool(measured.detail.get("done"))
            answered = float(measured.detail.get("settled", 0))
            because = f"the bus has answered {answered:.0f} of {self.messages} messages"
            hold = Hold.DONE if done and measured.hold is Hold.HOLDS else measured.hold
            measured = replace(
                measured,
                detail=flooding.with_rate(measured.detail),
                achieved=answered,
                hold=hold,
                because=measured.because or because,
            )
        return flooding.judged(measured, planned)


FAULT = TopicFlood
