"""The harness's own subscriber on the bus: who can still be heard on an open topic."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

from gevent.monkey import is_module_patched

from harness.contracts import Target, View
from harness.model import Reading


class BusListener:
    """bus_delivered: how many messages of each actor have come, cumulative, about twice a second."""

    every_s: ClassVar[float] = 0.25

    def __init__(self, target: Target) -> None:
        if is_module_patched("socket"):
            import zmq.green as zmq
        else:
            import zmq
        bus: Any = target.bus
        key = bus["spare_actors"][-1]
        self.zmq = zmq
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.curve_serverkey = bus["server_public_key"].encode()
        self.socket.curve_publickey = key["public_key"].encode()
        self.socket.curve_secretkey = key["secret_key"].encode()
        self.socket.connect(bus["endpoint"])
        self.topic = bus["open_topic"]
        self.actor = f"listener-{os.getpid()}-{time.monotonic_ns() % 100000}"
        self.heard: Counter[str] = Counter()
        self.renewed_s = 0.0

    @staticmethod
    def missing(target: Target) -> str:
        """What the manifest lacks for this observer; "" for nothing."""
        if not target.bus:
            return "bus"
        return "" if target.bus.get("spare_actors") else "bus.spare_actors"

    def observe(self, view: View) -> Iterable[Reading]:
        if time.monotonic() - self.renewed_s >= 1.0:  # the broker may be a new one
            self.renewed_s = time.monotonic()
            self._send({"op": "hello", "actor": self.actor})
            self._send({"op": "subscribe", "topics": [self.topic]})
        try:
            while True:
                content = json.loads(self.socket.recv(self.zmq.NOBLOCK))
                if content.get("op") == "deliver":
                    self.heard[str(content["message"]["source"])] += 1
        except self.zmq.Again:
            pass
        at_s = view.now_s()
        return [Reading(at_s=at_s, name="bus_delivered", subject=a, value=n) for a, n in self.heard.items()]

    def _send(self, content: dict[str, object]) -> None:
        try:
            self.socket.send(json.dumps(content).encode(), self.zmq.NOBLOCK)
        except self.zmq.Again:
            self.renewed_s = 0.0  # not connected yet: said again at the next look

    def close(self) -> None:
        self.socket.close()
        self.context.term()


OBSERVER = BusListener
