"""Sends messages to a grace-bus/1 broker as one actor, on an absolute schedule, and counts what became of them.

A message is due at its time whatever happened to those before it: a late one is made up for, up to a second's backlog.
What is later than that is not attempted at all, which the rate shows. The socket's queue is bounded and never waited
for: a message that it would not take is dropped. Kinds of floods say what is sent and what the answers mean.
"""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections import Counter
from typing import Any, NoReturn

import zmq

ANSWER_LIMIT_S = 5.0
ROW_EVERY_S = 0.25
QUEUE_MESSAGES = 2000
BACKLOG_S = 1.0
NAP_S = 0.002


class BusFlooder:
    """One actor's connection and what became of its messages."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self.arguments = arguments
        self.actor = arguments["actor"]
        self.context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self.context.socket(zmq.DEALER)
        self.sent = self.dropped = self.refused = 0
        self.reasons: Counter[str] = Counter()
        self.attempted = 0
        self.first_s = self.last_s = 0.0  # when the first and the last message was attempted

    # What a kind of flood says.

    def greet(self) -> None:
        """Before the flood: whatever must hold for it to mean something."""

    def attempt(self, topic: str) -> None:
        if self.hand_over(self.message(topic)):
            self.sent += 1
        else:
            self.dropped += 1

    def heard(self, answer: dict[str, Any]) -> None:
        """An answer that has come."""
        if answer.get("op") == "refused":
            self.refused += 1
            self.reasons[str(answer.get("reason"))] += 1

    def between(self, now_s: float) -> None:
        """What is done besides."""

    def counted(self) -> int:
        """What the rate is a rate of."""
        return self.sent

    def counts(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "dropped": self.dropped,
            "refused": self.refused,
            "refused_by_reason": dict(self.reasons),
        }

    # What is the same for all.

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

    def hand_over(self, message: dict[str, Any], **more: Any) -> bool:
        try:
            self.socket.send(json.dumps({"op": "publish", "message": message, **more}).encode(), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def collect(self) -> None:
        """Hears the answers that have come."""
        while self.socket.poll(0):
            self.heard(json.loads(self.socket.recv(zmq.NOBLOCK)))

    def row(self, rate: float) -> None:
        took_s = self.last_s - self.first_s
        mean = round((self.attempted - 1) / took_s, 2) if took_s > 0 else 0.0
        row = {"at": time.monotonic(), "rate": round(rate, 2), "mean_rate": mean, **self.counts()}
        print(json.dumps(row), flush=True)

    def fail(self, why: str) -> NoReturn:
        print(json.dumps({"at": time.monotonic(), "error": why}), flush=True)
        sys.exit(why)

    def flood(self) -> None:
        """Message n is due n / rate seconds after the start; or just *messages* of them, each of which is sent."""
        rate, topics = float(self.arguments["messages_per_second"]), self.arguments["topics"]
        most = int(self.arguments.get("messages") or sys.maxsize)
        start_s = time.monotonic()
        end_s = start_s + float(self.arguments["limit_s"])
        due = 0
        row_at_s, row_counted = start_s, self.counted()
        while (now_s := time.monotonic()) < end_s:
            target = int((now_s - start_s) * rate)
            if target - due > BACKLOG_S * rate and most == sys.maxsize:
                due = int(target - BACKLOG_S * rate)
            while due < min(target, most):
                self.last_s = time.monotonic()
                self.first_s = self.first_s or self.last_s
                self.attempted += 1
                self.attempt(topics[due % len(topics)])
                due += 1
            self.collect()
            self.between(now_s)
            if now_s >= row_at_s + ROW_EVERY_S:
                self.row((self.counted() - row_counted) / (now_s - row_at_s))
                row_at_s, row_counted = now_s, self.counted()
            next_s = start_s + (due + 1) / rate - time.monotonic() if due < most else NAP_S
            time.sleep(max(0.0, min(NAP_S, next_s)))
