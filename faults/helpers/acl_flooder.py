"""Floods a grace-bus/1 broker as one actor: `python -m faults.helpers.acl_flooder JSON`.

First it says hello and sends three canaries to the open topic, which must be accepted: they show that the actor's
messages do arrive until somebody cuts it off. Then it keeps an absolute schedule of forbidden messages (a late
one is made up for, up to a second's backlog), with a canary every quarter of a second beside them.

A row every 0.25 s: {at, rate, sent, dropped, refused, refused_by_reason, canaries_sent, canaries_refused}. *rate*
is attempts handed to the socket a second; a message that the socket would not take (its bounded queue is full) is
dropped and does not count. What is later than the backlog is not attempted at all, which the rate shows.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import Counter
from typing import Any

import zmq

ANSWER_LIMIT_S = 5.0
ROW_EVERY_S = 0.25
CANARY_EVERY_S = 0.25
QUEUE_MESSAGES = 2000
BACKLOG_S = 1.0


class Flooder:
    """One actor's connection and what became of its messages."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.actor = arguments["actor"]
        self.context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self.context.socket(zmq.DEALER)
        self.sent = self.dropped = self.refused = self.canaries_sent = self.canaries_refused = 0
        self.reasons: Counter[str] = Counter()
        self.canaries: set[str] = set()

    def join(self) -> None:
        """Connects with the first key whose holder may still choose its name. Exits in words when none may."""
        reasons = []
        for key in self.arguments["keys"]:
            self.socket = self.context.socket(zmq.DEALER)
            self.socket.setsockopt(zmq.LINGER, 0)
            self.socket.setsockopt(zmq.SNDHWM, QUEUE_MESSAGES)
            self.socket.curve_serverkey = self.arguments["server_public_key"].encode()
            self.socket.curve_publickey = key["public_key"].encode()
            self.socket.curve_secretkey = key["secret_key"].encode()
            self.socket.connect(self.arguments["endpoint"])
            answer = self.ask({"op": "hello", "actor": self.actor})
            if answer.get("op") == "welcome":
                return
            reasons.append(str(answer.get("reason", "no answer")))
            self.socket.close()
            if answer.get("reason") is None:
                break
        self.fail(f"the bus does not admit {self.actor}: {', '.join(reasons)}")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Sends and waits for the answer; {} when none comes in time."""
        self.socket.send(json.dumps(request).encode())
        deadline = time.monotonic() + ANSWER_LIMIT_S
        while (left_s := deadline - time.monotonic()) > 0:
            if self.socket.poll(int(left_s * 1000) + 1):
                answer: dict[str, Any] = json.loads(self.socket.recv())
                if answer.get("op") in ("welcome", "refused", "accepted"):
                    return answer
        return {}

    def message(self, topic: str) -> dict[str, Any]:
        return {
            "id": uuid.uuid4().hex,
            "source": self.actor,
            "destination": "*",
            "topic": topic,
            "payload": {"action": "override", "value": "x" * 64},
            "priority": 2,
            "timestamp": time.time(),
            "correlation_id": None,
            "metadata": {},
        }

    def greet(self) -> None:
        for _ in range(3):
            message = self.message(self.arguments["open_topic"])
            answer = self.ask({"op": "publish", "message": message, "ack": True})
            if answer.get("op") != "accepted":
                self.fail(f"a message on the open topic was not accepted before the flood: {answer}")
            self.canaries_sent += 1

    def canary(self) -> None:
        message = self.message(self.arguments["open_topic"])
        self.canaries.add(message["id"])
        self.hand_over(message)
        self.canaries_sent += 1

    def hand_over(self, message: dict[str, Any]) -> bool:
        try:
            self.socket.send(json.dumps({"op": "publish", "message": message}).encode(), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def attempt(self, topic: str) -> None:
        if self.hand_over(self.message(topic)):
            self.sent += 1
        else:
            self.dropped += 1

    def collect(self) -> None:
        """Counts the refusals that have come."""
        while self.socket.poll(0):
            answer = json.loads(self.socket.recv(zmq.NOBLOCK))
            if answer.get("op") != "refused":
                continue
            if answer.get("id") in self.canaries:
                self.canaries.discard(answer["id"])
                self.canaries_refused += 1
                continue
            self.refused += 1
            self.reasons[str(answer.get("reason"))] += 1

    def row(self, rate: float) -> None:
        print(
            json.dumps(
                {
                    "at": time.monotonic(),
                    "rate": round(rate, 2),
                    "sent": self.sent,
                    "dropped": self.dropped,
                    "refused": self.refused,
                    "refused_by_reason": dict(self.reasons),
                    "canaries_sent": self.canaries_sent,
                    "canaries_refused": self.canaries_refused,
                }
            ),
            flush=True,
        )

    def fail(self, why: str) -> None:
        print(json.dumps({"at": time.monotonic(), "error": why}), flush=True)
        sys.exit(why)

    def flood(self) -> None:
        """Message n is due n / rate seconds after the start, whatever happened to those before it."""
        rate, topics = float(self.arguments["messages_per_second"]), self.arguments["topics"]
        start_s = time.monotonic()
        end_s = start_s + float(self.arguments["limit_s"])
        due = 0
        row_at_s, row_sent, canary_at_s = start_s, 0, start_s
        while (now_s := time.monotonic()) < end_s:
            target = int((now_s - start_s) * rate)
            if target - due > BACKLOG_S * rate:
                due = int(target - BACKLOG_S * rate)
            while due < target:
                self.attempt(topics[due % len(topics)])
                due += 1
            self.collect()
            if now_s >= canary_at_s + CANARY_EVERY_S:
                canary_at_s += CANARY_EVERY_S
                self.canary()
            if now_s >= row_at_s + ROW_EVERY_S:
                self.row((self.sent - row_sent) / (now_s - row_at_s))
                row_at_s, row_sent = now_s, self.sent
            time.sleep(max(0.0, min(0.002, start_s + (due + 1) / rate - time.monotonic())))


def main() -> None:
    flooder = Flooder(json.loads(sys.argv[1]))
    flooder.join()
    flooder.greet()
    flooder.flood()


if __name__ == "__main__":
    main()
