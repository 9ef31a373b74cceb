"""The harness's own subscriber on the bus: who can still be heard on an open topic, and whether it hears at all."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from gevent.monkey import is_module_patched

from harness.contracts import Target, View
from harness.model import Reading

RENEW_EVERY_S = 1.0
CANARY_EVERY_S = 0.5
TAKEN = ("spoofed_source", "reserved_actor")  # the key belongs to another name already


def name_of(key: Mapping[str, str]) -> str:
    """The listener's name on the bus, always the same with the same key.

    A spare key belongs for good to the first name that it is given: the next run on a target that stays must be able
    to use the one that this run has used.
    """
    return f"listener-{hashlib.sha256(key['public_key'].encode()).hexdigest()[:8]}"


class BusListener:
    """What has come over the bus since the start, cumulative.

    bus_delivered: how many messages of each other actor. bus_canary: how many of its own, which it publishes on the
    same topic twice a second; while they come, the silence of another actor is that actor's. bus_heartbeats: how many
    messages each kernel has published on its own topic below `bus.heartbeat_topic`, counted only as long as they come
    from the actor that was heard there first, so that nobody else can stand in for it.
    """

    every_s: ClassVar[float] = 0.25

    def __init__(self, target: Target) -> None:
        if is_module_patched("socket"):
            import zmq.green as zmq
        else:
            import zmq
        self.zmq = zmq
        bus: Any = target.bus
        self.bus = bus
        self.keys = list(reversed(bus["spare_actors"]))  # whoever comes after the listener finds another one
        self.context = zmq.Context()
        self.topic = bus["open_topic"]
        self.heartbeats = f"{bus['heartbeat_topic']}." if bus.get("heartbeat_topic") else ""
        self.beats: Counter[str] = Counter()  # by kernel
        self.told: dict[str, int] = {}
        self.actors: dict[str, str] = {}  # kernel → the actor that publishes its heartbeats
        self.token = uuid.uuid4().hex  # another run may listen with the same key at the same time
        self.heard: Counter[str] = Counter()
        self.canaries = 0
        self._connect()

    def _connect(self) -> None:
        """With the first of the keys that are left."""
        self.actor, self.welcome = name_of(self.keys[0]), False
        self.renewed_s = self.canary_s = 0.0
        self.socket = self.context.socket(self.zmq.DEALER)
        self.socket.setsockopt(self.zmq.LINGER, 0)
        self.socket.curve_serverkey = self.bus["server_public_key"].encode()
        self.socket.curve_publickey = self.keys[0]["public_key"].encode()
        self.socket.curve_secretkey = self.keys[0]["secret_key"].encode()
        self.socket.connect(self.bus["endpoint"])

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        if not target.bus:
            return "bus"
        return "" if target.bus.get("spare_actors") else "bus.spare_actors"

    def observe(self, view: View) -> Iterable[Reading]:
        now_s = time.monotonic()
        if now_s - self.renewed_s >= RENEW_EVERY_S:  # the broker may be a new one
            self.renewed_s = now_s
            self._send({"op": "hello", "actor": self.actor})
            topics = [self.topic, self.heartbeats] if self.heartbeats else [self.topic]
            self._send({"op": "subscribe", "topics": topics})
        if self.welcome and now_s - self.canary_s >= CANARY_EVERY_S:
            self.canary_s = now_s
            self._send({"op": "publish", "message": self._canary()})
        try:
            while True:
                self._take(json.loads(self.socket.recv(self.zmq.NOBLOCK)))
        except self.zmq.Again:
            pass
        at_s = view.now_s()
        yield Reading(at_s=at_s, name="bus_canary", value=self.canaries)
        for actor, count in self.heard.items():
            yield Reading(at_s=at_s, name="bus_delivered", subject=actor, value=count)
        for kernel, count in self.beats.items():
            if count > self.told.get(kernel, 0):  # a sample for each that came: twenty kernels would fill the file
                self.told[kernel] = count
                yield Reading(at_s=at_s, name="bus_heartbeats", subject=kernel, value=count)

    def _take(self, content: Mapping[str, Any]) -> None:
        if content.get("op") == "deliver":
            message = content["message"]
            if self.heartbeats and str(message["topic"]).startswith(self.heartbeats):
                kernel, source = str(message["topic"]).removeprefix(self.heartbeats), str(message["source"])
                self.beats[kernel] += self.actors.setdefault(kernel, source) == source
            elif message["source"] != self.actor:
                self.heard[str(message["source"])] += 1
            elif message["payload"].get("canary") == self.token:
                self.canaries += 1
        elif content.get("op") == "welcome":
            self.welcome = True
        elif content.get("reason") in TAKEN and "id" not in content and len(self.keys) > 1:
            self.keys.pop(0)
            self.socket.close()
            self._connect()

    def _canary(self) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "source": self.actor,
            "destination": "*",
            "topic": self.topic,
            "payload": {"canary": self.token},
            "priority": 2,
            "timestamp": time.time(),
            "correlation_id": None,
            "metadata": {},
        }

    def _send(self, content: dict[str, object]) -> None:
        try:
            self.socket.send(json.dumps(content).encode(), self.zmq.NOBLOCK)
        except self.zmq.Again:
            self.renewed_s = 0.0  # not connected yet: said again at the next look

    def close(self) -> None:
        self.socket.close()
        self.context.term()


OBSERVER = BusListener
