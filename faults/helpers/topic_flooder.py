"""Floods an open topic of a grace-bus/1 broker: `python -m faults.helpers.topic_flooder JSON`.

Each message asks for the bus's word. A row every 0.25 s: {at, rate, sent, accepted, refused, refused_by_reason,
unanswered, dropped, done}: *rate* is what the bus has answered a second; *dropped* is what the socket would not take,
and what the bus has left without a word for ANSWER_LIMIT_S; *done* is that all of *messages* have been settled.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from faults.helpers.bus_flooder import ANSWER_LIMIT_S, BusFlooder


class TopicFlooder(BusFlooder):
    """One actor that may send, and sends too much."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__(arguments)
        self.accepted = self.unanswered = 0
        self.waiting: dict[str, float] = {}  # message → when it was sent, the oldest first

    def greet(self) -> None:
        for topic in self.arguments["topics"]:
            answer = self.ask({"op": "publish", "message": self.message(topic), "ack": True})
            if answer.get("op") != "accepted":
                self.fail(f"{topic} is not open to {self.actor}: {answer.get('reason', 'no answer')}")

    def attempt(self, topic: str) -> None:
        message = self.message(topic)
        if self.hand_over(message, ack=True):
            self.sent += 1
            self.waiting[message["id"]] = time.monotonic()
        else:
            self.dropped += 1

    def heard(self, answer: dict[str, Any]) -> None:
        if answer.get("op") not in ("accepted", "refused") or self.waiting.pop(str(answer.get("id")), None) is None:
            return  # somebody else's message, or an answer that has been given up
        self.accepted += answer["op"] == "accepted"
        super().heard(answer)

    def between(self, now_s: float) -> None:
        while self.waiting:
            oldest, sent_s = next(iter(self.waiting.items()))
            if now_s - sent_s < ANSWER_LIMIT_S:
                break
            del self.waiting[oldest]
            self.unanswered += 1
            self.dropped += 1

    def counted(self) -> int:
        return self.accepted + self.refused

    def counts(self) -> dict[str, Any]:
        asked = int(self.arguments.get("messages") or 0)
        done = 0 < asked <= self.counted() + self.dropped
        told = {"accepted": self.accepted, "unanswered": self.unanswered, "settled": self.counted(), "done": done}
        return {**super().counts(), **told}


def main() -> None:
    flooder = TopicFlooder(json.loads(sys.argv[1]))
    flooder.join()
    flooder.greet()
    flooder.flood()


if __name__ == "__main__":
    main()
