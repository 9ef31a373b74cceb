"""ACL flood: an actor without rights floods the message bus with messages that it may not send."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import ClassVar

from faults.helpers.reading import helper_facts, sample_mean
from harness.contracts import Hands, Target, TargetLacks
from harness.model import Effect, Hold, Magnitude, Sample, Undo

DROPPED_PERCENT_MAX = 1.0
BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it
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

    @property
    def subject(self) -> str:
        return self.blocked_actor

    @property
    def asked(self) -> Magnitude:
        rate = self.messages_per_second
        return Magnitude(name="rate", value=rate, unit="msg/s", tolerance=rate * 0.05)

    def prepare(self, target: Target) -> Undo:
        if target.bus is None:
            raise TargetLacks("a message bus is needed, and the manifest has none")
        if not target.bus.get("spare_actors"):
            raise TargetLacks("a spare actor's key is needed, and the manifest's bus offers none")
        return Undo()  # the helper is all that there is to undo, and the guardian adds that itself

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        assert target.bus is not None
        keys = list(target.bus["spare_actors"])
        first = zlib.crc32(self.blocked_actor.encode()) % len(keys)
        arguments = {
            "endpoint": target.bus["endpoint"],
            "server_public_key": target.bus["server_public_key"],
            "open_topic": target.bus["open_topic"],
            "keys": keys[first:] + keys[:first],
            "actor": self.blocked_actor,
            "topics": TOPICS,
            "messages_per_second": self.messages_per_second,
            "limit_s": self.duration_seconds + BELT_S,
        }
        helper = hands.start_helper("faults.helpers.acl_flooder", arguments)
        return Effect(facts={"actor": self.blocked_actor, "topics": list(TOPICS), **helper_facts(helper)})

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        measured = sample_mean(effect, hands, "rate", window_s=1.0)
        sent, dropped = int(measured.detail.get("sent", 0)), int(measured.detail.get("dropped", 0))
        attempts = max(sent + dropped, self.messages_per_second * self.duration_seconds)
        if measured.hold is not Hold.HOLDS or dropped <= attempts * DROPPED_PERCENT_MAX / 100:
            return measured
        refused = int(measured.detail.get("refused", 0))
        because = (
            f"the bus did not take what was sent: {dropped} messages were dropped, at most {DROPPED_PERCENT_MAX:g} %"
            f" of {attempts:.0f} may be ({sent} sent, {refused} of them refused by the bus)"
        )
        return replace(measured, hold=Hold.LOST, because=because)


FAULT = AclFlood
