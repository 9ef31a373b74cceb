"""What floods of the message bus have in common: how they reach it, and when too little of them has arrived."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from faults.helpers.reading import helper_facts
from faults.helpers.witness import Total, counter
from harness.contracts import Hands, Target, TargetLacks
from harness.model import Effect, Hold, Sample, Undo

DROPPED_PERCENT_MAX = 1.0
VIOLATIONS, MESSAGES = "message_bus.acl_violations", "message_bus.messages"  # counters of a manifest
BY_BUS = "how fast the bus's own count grew"
BELT_S = 30.0  # the helper ends by itself this long after its time, should nobody end it


def prepare(target: Target) -> Undo:
    """Raises TargetLacks for a target without a bus, or without a key for an actor of ours."""
    if target.bus is None:
        raise TargetLacks("a message bus is needed, and the manifest has none")
    if not target.bus.get("spare_actors"):
        raise TargetLacks("a spare actor's key is needed, and the manifest's bus offers none")
    return Undo()  # the helper is all that there is to undo, and the guardian adds that itself


def inject(
    target: Target, hands: Hands, module: str, actor: str, topics: Sequence[str], rate: float, more: Mapping[str, Any]
) -> Effect:
    """Starts the helper *module*. An actor finds its own key again, if it has had one."""
    assert target.bus is not None
    keys = list(target.bus["spare_actors"])
    first = zlib.crc32(actor.encode()) % len(keys)
    arguments = {
        "endpoint": target.bus["endpoint"],
        "server_public_key": target.bus["server_public_key"],
        "open_topic": target.bus["open_topic"],
        "keys": keys[first:] + keys[:first],
        "actor": actor,
        "topics": list(topics),
        "messages_per_second": rate,
        **more,
    }
    helper = hands.start_helper(module, arguments)
    return Effect(facts={"actor": actor, "topics": list(topics), **helper_facts(helper)})


def counted(target: Target, name: str) -> Total:
    """How many messages the bus counts under *name* from the injection on; and how many a second, while they came."""
    polled = counter(target, name)
    made = Total(polled, again=polled.look, also_names={"rate": BY_BUS})

    def also() -> Mapping[str, float]:
        pace = made.pace()
        return {} if pace is None else {"rate": pace}

    made.more = also
    return made


def with_rate(detail: Mapping[str, Any]) -> dict[str, Any]:
    """*detail* with the messages a second, from the first to the last, beside the count that was asked for."""
    return {**detail, "also": {"rate": float(detail.get("mean_rate", 0.0))}}


def judged(measured: Sample, planned: float) -> Sample:
    """Lost when more than 1 % of all that was or is to be sent (*planned* at least) has been dropped."""
    sent, dropped = int(measured.detail.get("sent", 0)), int(measured.detail.get("dropped", 0))
    unanswered = int(measured.detail.get("unanswered", 0))  # sent and dropped both
    attempts = max(sent + dropped - unanswered, planned)
    if measured.hold not in (Hold.HOLDS, Hold.DONE) or dropped <= attempts * DROPPED_PERCENT_MAX / 100:
        return measured
    refused = int(measured.detail.get("refused", 0))
    because = (
        f"the bus did not take what was sent: {dropped} messages were dropped, at most {DROPPED_PERCENT_MAX:g} %"
        f" of {attempts:.0f} may be ({sent} sent, {refused} of them refused by the bus)"
    )
    return replace(measured, hold=Hold.LOST, because=because)
