"""The broker: admits actors by key, enforces the access rules, counts and logs whatever it refuses."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twin.bus.acl import CONTROL_TOPICS, below, may_publish, rule_of
from twin.bus.keys import reserved_actors
from twin.defects import Defects

MESSAGE_FIELDS = ("id", "source", "topic", "payload")
ROWS_MAX = 1000  # who makes up topics must not make the counts grow: beyond, they are counted by the rule they break
OTHERS = "others"
INNOCENT = {"innocent_cut_off": "voice_conversation", "blacklist_kept": "sandbox"}  # defect → the kernel that it harms
Send = Callable[[bytes, dict[str, Any]], bool]


@dataclass
class Ledger:
    """What must survive the broker: counts, bindings of spare keys to names, and who is cut off."""

    refused: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (actor, topic, reason) -> n
    delivered: Counter[str] = field(default_factory=Counter)
    bindings: dict[str, str] = field(default_factory=dict)  # spare public key -> actor
    blacklist: dict[str, float] = field(default_factory=dict)  # actor -> since, epoch seconds


class Broker:
    """Pure of sockets: take() is given who sent what, and answers through *send*, which says if a peer is there."""

    def __init__(
        self, actors_by_key: Mapping[str, str], ledger: Ledger, send: Send, defects: Defects | None = None
    ) -> None:
        self.defects = defects or Defects(())
        self.actors_by_key = actors_by_key
        self.platform = frozenset(actors_by_key.values())
        self.ledger = ledger
        self.send = send
        self.subscriptions: dict[bytes, tuple[str, tuple[str, ...]]] = {}  # peer -> (actor, topic prefixes)
        self.window: Counter[tuple[str, str, str]] = Counter()
        self.log_rows: list[str] = []
        self.published = 0  # messages that came, taken or refused, in this life
        self.urgent = False  # a binding or the blacklist has changed: write it now

    def take(self, peer: bytes, key: str, body: bytes) -> None:
        try:
            content = json.loads(body)
            op = content["op"]
            if op == "hello":
                self._hello(peer, key, str(content["actor"]))
            elif op == "publish":
                self._publish(peer, key, content["message"], bool(content.get("ack")))
            elif op == "subscribe":
                self._subscribe(peer, key, [str(topic) for topic in content["topics"]])
            else:
                raise ValueError(op)
        except (ValueError, KeyError, TypeError, AttributeError):
            self.send(peer, {"op": "refused", "reason": "malformed"})

    def actor(self, key: str) -> str | None:
        return self.actors_by_key.get(key) or self.ledger.bindings.get(key)

    def _hello(self, peer: bytes, key: str, wanted: str) -> None:
        """A spare key belongs for good to the name that its holder says first."""
        actor = self.actor(key)
        if actor is None:
            if wanted in reserved_actors() or wanted in self.ledger.bindings.values():
                self.send(peer, {"op": "refused", "reason": "reserved_actor"})
                return
            self.ledger.bindings[key] = actor = wanted
            self.urgent = True
        if actor == wanted:
            self.send(peer, {"op": "welcome", "actor": actor})
        else:
            self.send(peer, {"op": "refused", "reason": "spoofed_source"})

    def _subscribe(self, peer: bytes, key: str, topics: list[str]) -> None:
        actor = self.actor(key)
        if actor is None:
            self.send(peer, {"op": "refused", "reason": "unknown_actor"})
            return
        if actor not in self.platform:
            topics = [topic for topic in topics if topic and not below(topic.rstrip("."), "bus")]
        self.subscriptions[peer] = (actor, tuple(topics))
        self.send(peer, {"op": "subscribed"})

    def _publish(self, peer: bytes, key: str, message: dict[str, Any], ack: bool) -> None:
        actor = self.actor(key)
        topic, message_id = str(message["topic"]), message["id"]
        self.published += 1
        reason = self._refusal(actor, message)
        if reason:
            self._refuse(actor or "unknown", topic, reason)
            self.send(peer, {"op": "refused", "id": message_id, "topic": topic, "reason": reason})
            return
        if below(topic, "system.control"):
            self._obey(message["payload"])
        self.deliver(message)
        if ack:
            self.send(peer, {"op": "accepted", "id": message_id})

    def _refusal(self, actor: str | None, message: dict[str, Any]) -> str:
        """Why *message* is refused; "" when it is not."""
        if actor is None:
            return "unknown_actor"
        if any(name not in message for name in MESSAGE_FIELDS):
            return "malformed"
        if actor in self.ledger.blacklist:
            return "blacklisted"
        if message["source"] != actor:
            return "spoofed_source"
        if not may_publish(actor, str(message["topic"]), actor in self.platform):
            return "acl"
        return "acl" if actor not in self.platform and self.defects.strikes("allowed_refused") else ""

    def _refuse(self, actor: str, topic: str, reason: str) -> None:
        row = (actor, topic, reason)
        if row not in self.ledger.refused and len(self.ledger.refused) >= ROWS_MAX:
            row = (actor, rule_of(topic) or OTHERS, reason)
        self.ledger.refused[row] += 1
        self.window[row] += 1
        self.log_rows.append(json.dumps({"at": time.time(), "actor": actor, "topic": topic, "reason": reason}))

    def _obey(self, order: dict[str, Any]) -> None:
        action, actor = order.get("action"), str(order.get("actor"))
        if action == "actor_blacklisted" and actor not in self.platform:
            self.ledger.blacklist[actor] = time.time()
            self._harm("innocent_cut_off")
            self.urgent = True
        elif action == "actor_released":
            self.ledger.blacklist.pop(actor, None)
            self._harm("blacklist_kept")
            self.urgent = True

    def _harm(self, defect: str) -> None:
        """Where *defect* is planted, cut off a kernel that did nothing."""
        if defect in self.defects.planted:
            self.ledger.blacklist[INNOCENT[defect]] = time.time()

    def deliver(self, message: dict[str, Any]) -> None:
        """To all who subscribed, but for those that are cut off."""
        topic = message["topic"]
        for peer, (actor, prefixes) in list(self.subscriptions.items()):
            if actor in self.ledger.blacklist or not any(topic.startswith(prefix) for prefix in prefixes):
                continue
            if self.send(peer, {"op": "deliver", "message": message}):
                self.ledger.delivered[actor] += 1
            else:
                del self.subscriptions[peer]

    def summary(self, window_s: float) -> dict[str, Any] | None:
        """What was refused since the last summary; None for nothing."""
        if not self.window:
            return None
        refusals = [
            {
                "actor": actor,
                "topic": topic,
                "reason": reason,
                "count": count,
                "control": any(below(topic, one) for one in CONTROL_TOPICS),
            }
            for (actor, topic, reason), count in self.window.items()
        ]
        self.window.clear()
        return {"window_s": window_s, "total": sum(row["count"] for row in refusals), "refusals": refusals}
