"""The broker's rules without sockets: who is admitted under which name, who may say what, who is cut off."""

from __future__ import annotations

import json
from typing import Any

import pytest

from twin.bus.acl import PLATFORM, RULES
from twin.bus.broker import ROWS_MAX, Broker, Ledger
from twin.bus.keys import actor_of, reserved_actors
from twin.defects import Defects
from twin.kernels import KERNELS

NAMES = sorted({actor_of(kernel) for kernel in KERNELS} | {"orchestrator", "control_plane", "control_center"})
# The mission's table, written out again so that a rule that is lost in the code is seen here.
ALLOWED = {
    "kernel.memory": {"memory_fusion", "librarian"},
    "kernel.healing": {"self_healing", "orchestrator"},
    "kernel.governance": {"governance_engine", "orchestrator", "control_plane"},
    "kernel.code": {"coding_agent", "sandbox"},
    "kernel.crypto": {"crypto_service", "orchestrator"},
    "system.control": {"orchestrator", "control_center", "control_plane"},
    "system.health": {"health_monitor", "orchestrator"},
}


class Bus:
    """A broker with a key `key:NAME` for every platform actor, and all that it has sent."""

    def __init__(self, ledger: Ledger | None = None) -> None:
        self.ledger = ledger or Ledger()
        self.sent: list[tuple[bytes, dict[str, Any]]] = []
        self.broker = Broker({f"key:{name}": name for name in NAMES}, self.ledger, self._send)

    def _send(self, peer: bytes, content: dict[str, Any]) -> bool:
        self.sent.append((peer, content))
        return True

    def say(self, key: str, content: Any, peer: bytes = b"p") -> dict[str, Any] | None:
        """The broker's last word to the sender; None when it is silent."""
        self.sent.clear()
        self.broker.take(peer, key, content if isinstance(content, bytes) else json.dumps(content).encode())
        return next((one for to, one in self.sent if to == peer and one["op"] != "deliver"), None)

    def hello(self, key: str, actor: str, peer: bytes = b"p") -> dict[str, Any] | None:
        return self.say(key, {"op": "hello", "actor": actor}, peer)

    def publish(self, key: str, source: str, topic: str, payload: Any = None) -> str:
        """ "accepted" or the reason of the refusal."""
        message = {"id": "m", "source": source, "topic": topic, "payload": payload or {}}
        answer = self.say(key, {"op": "publish", "message": message, "ack": True})
        assert answer is not None
        return str(answer.get("reason", answer["op"]))

    def subscribe(self, key: str, peer: bytes, *topics: str) -> None:
        assert self.say(key, {"op": "subscribe", "topics": list(topics)}, peer) == {"op": "subscribed"}

    def receivers(self) -> set[bytes]:
        return {peer for peer, content in self.sent if content["op"] == "deliver"}

    def order(self, action: str, actor: str) -> None:
        assert self.publish(
            "key:orchestrator", "orchestrator", "system.control", {"action": action, "actor": actor}
        ) == ("accepted")


@pytest.fixture
def bus() -> Bus:
    made = Bus()
    made.hello("spare", "outsider")
    return made


def test_the_rules_are_those_of_the_platform() -> None:
    assert {topic: set(actors) for topic, actors in RULES.items()} == ALLOWED


@pytest.mark.parametrize("topic", sorted(ALLOWED))
@pytest.mark.parametrize("below", ["", ".anything"])
def test_only_the_listed_actors_publish_on_a_listed_topic(bus: Bus, topic: str, below: str) -> None:
    accepted = {name for name in NAMES if bus.publish(f"key:{name}", name, topic + below) == "accepted"}
    assert accepted == ALLOWED[topic] & set(NAMES)
    assert bus.publish("spare", "outsider", topic + below) == "acl"


@pytest.mark.parametrize("topic", [f"{prefix}.x" for prefix in PLATFORM])
def test_an_outsider_cannot_forge_what_the_platform_says(bus: Bus, topic: str) -> None:
    assert bus.publish("spare", "outsider", topic) == "acl"
    assert bus.publish("key:librarian", "librarian", topic) == "accepted"


@pytest.mark.parametrize("topic", ["telemetry.open", "anything", "kernel.memoryless", "systems.control"])
def test_topics_that_no_rule_names_are_open(bus: Bus, topic: str) -> None:
    assert bus.publish("spare", "outsider", topic) == "accepted"


@pytest.mark.parametrize("name", sorted(reserved_actors()))
def test_a_spare_key_cannot_take_a_reserved_name(name: str) -> None:
    bus = Bus()
    assert bus.hello("spare", name) == {"op": "refused", "reason": "reserved_actor"}
    assert bus.publish("spare", name, "kernel.memory") == "unknown_actor"


def test_a_spare_key_is_bound_for_good_to_its_first_name(bus: Bus) -> None:
    assert bus.hello("spare", "outsider") == {"op": "welcome", "actor": "outsider"}
    assert bus.hello("spare", "another") == {"op": "refused", "reason": "spoofed_source"}
    assert bus.hello("second", "outsider") == {"op": "refused", "reason": "reserved_actor"}
    again = Bus(Ledger(bindings=dict(bus.ledger.bindings)))
    assert again.hello("spare", "another") == {"op": "refused", "reason": "spoofed_source"}


def test_a_spoofed_source_is_refused_and_counted_against_the_key(bus: Bus) -> None:
    assert bus.publish("spare", "memory_fusion", "kernel.memory") == "spoofed_source"
    assert bus.publish("spare", "memory_fusion", "telemetry.open") == "spoofed_source"
    assert {(actor, reason) for actor, _, reason in bus.ledger.refused} == {("outsider", "spoofed_source")}
    assert sum(bus.ledger.refused.values()) == 2


def test_who_has_not_said_hello_publishes_nothing() -> None:
    bus = Bus()
    assert bus.publish("spare", "outsider", "telemetry.open") == "unknown_actor"
    assert bus.say("spare", {"op": "subscribe", "topics": ["telemetry."]}) == {
        "op": "refused",
        "reason": "unknown_actor",
    }


def test_a_cut_off_actor_neither_speaks_nor_hears_and_is_still_counted(bus: Bus) -> None:
    bus.subscribe("spare", b"ear", "telemetry.")
    bus.publish("key:librarian", "librarian", "telemetry.open")
    assert b"ear" in bus.receivers(), "it hears before"
    bus.order("actor_blacklisted", "outsider")
    assert bus.publish("spare", "outsider", "telemetry.open") == "blacklisted"
    assert bus.publish("spare", "outsider", "kernel.memory") == "blacklisted"
    assert sum(bus.ledger.refused.values()) == 2 and len(bus.broker.log_rows) == 2
    bus.publish("key:librarian", "librarian", "telemetry.open")
    assert b"ear" not in bus.receivers()
    bus.order("actor_released", "outsider")
    assert bus.publish("spare", "outsider", "telemetry.open") == "accepted"
    bus.publish("key:librarian", "librarian", "telemetry.open")
    assert b"ear" in bus.receivers()


def test_where_it_is_planted_an_allowed_message_is_refused_and_the_platform_s_own_never(bus: Bus) -> None:
    assert {bus.publish("spare", "outsider", "telemetry.open") for _ in range(100)} == {"accepted"}
    bus.broker.defects = Defects(["allowed_refused"])
    answers = [bus.publish("spare", "outsider", "telemetry.open") for _ in range(100)]
    assert answers.count("acl") == 2 and answers[6] == "acl" and answers.count("accepted") == 98
    assert {bus.publish("key:librarian", "librarian", "kernel.memory") for _ in range(100)} == {"accepted"}


def test_the_cut_off_outlives_the_broker(bus: Bus) -> None:
    bus.order("actor_blacklisted", "outsider")
    again = Bus(bus.ledger)
    assert again.publish("spare", "outsider", "telemetry.open") == "blacklisted"


def test_nobody_cuts_off_the_platform_and_only_control_actors_cut_off(bus: Bus) -> None:
    bus.order("actor_blacklisted", "memory_fusion")
    assert bus.publish("key:memory_fusion", "memory_fusion", "kernel.memory") == "accepted"
    order = {"action": "actor_blacklisted", "actor": "outsider"}
    assert bus.publish("key:librarian", "librarian", "system.control", order) == "acl"
    assert bus.publish("spare", "outsider", "telemetry.open") == "accepted"


def test_every_refusal_is_told_once_in_the_summary(bus: Bus) -> None:
    for _ in range(3):
        bus.publish("spare", "outsider", "system.control")
    bus.publish("spare", "outsider", "kernel.memory")
    summary = bus.broker.summary(0.1)
    assert summary is not None
    told = {(row["topic"], row["count"], row["control"]) for row in summary["refusals"]}
    assert told == {("system.control", 3, True), ("kernel.memory", 1, False)}
    assert bus.broker.summary(0.1) is None


def test_an_outsider_does_not_hear_the_bus_itself(bus: Bus) -> None:
    bus.subscribe("spare", b"ear", "bus.refusals", "bus", "bus.", "")
    bus.subscribe("key:trigger_mesh", b"mesh", "bus.refusals")
    bus.sent.clear()
    bus.broker.deliver({"topic": "bus.refusals", "source": "message_bus", "payload": {}})
    assert bus.receivers() == {b"mesh"}


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff\xfe", b"[]", b"null", b"{}", b'{"op": "no"}', b'{"op": "publish", "message": []}', b'{"op": "hello"}'],
)
def test_a_malformed_frame_is_refused_in_words(bus: Bus, body: bytes) -> None:
    answer = bus.say("spare", body)
    assert answer == {"op": "refused", "reason": "malformed"}


def test_who_makes_up_topics_does_not_make_the_counts_grow(bus: Bus) -> None:
    """Beyond the bound an attempt is counted under the rule that it breaks, and told as on a control topic if it is."""
    bus.publish("spare", "outsider", "kernel.memory")
    for number in range(ROWS_MAX + 50):
        bus.publish("spare", "outsider", f"kernel.code.{number}")
    assert len(bus.ledger.refused) <= ROWS_MAX + 1
    bus.broker.summary(0.1)
    for topic in ("system.control.made.up", "kernel.memory", "kernel.code.another"):
        bus.publish("spare", "outsider", topic)
    bus.order("actor_blacklisted", "outsider")
    assert bus.publish("spare", "outsider", "telemetry.made.up") == "blacklisted"
    summary = bus.broker.summary(0.1)
    assert summary is not None and {(row["topic"], row["control"]) for row in summary["refusals"]} == {
        ("system.control", True),
        ("kernel.memory", False),
        ("kernel.code", False),
        ("others", False),
    }
    assert sum(bus.ledger.refused.values()) == ROWS_MAX + 51 + 4, "none of them is lost"
