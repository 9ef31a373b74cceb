"""Floods a grace-bus/1 broker with forbidden messages: `python -m faults.helpers.acl_flooder JSON`.

First it says hello and sends three canaries to the open topic, which must be accepted: they show that the actor's
messages do arrive until somebody cuts it off. Then it keeps to the schedule of faults/helpers/bus_flooder.py, with a
canary every quarter of a second beside it.

With `messages` in its arguments it sends just so many, and then canaries only.

A row every 0.25 s: {at, rate, sent, dropped, refused, refused_by_reason, canaries_sent, canaries_refused}. *rate*
is attempts handed to the socket a second; what it dropped does not count.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from faults.helpers.bus_flooder import BusFlooder

CANARY_EVERY_S = 0.25


class Flooder(BusFlooder):
    """One actor without rights, and its canaries."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        super().__init__(arguments)
        self.canaries: set[str] = set()
        self.canaries_sent = self.canaries_refused = 0
        self.canary_at_s: float | None = None

    def greet(self) -> None:
        for _ in range(3):
            message = self.message(self.arguments["open_topic"])
            answer = self.ask({"op": "publish", "message": message, "ack": True})
            if answer.get("op") != "accepted":
                self.fail(f"a message on the open topic was not accepted before the flood: {answer}")
            self.canaries_sent += 1

    def heard(self, answer: dict[str, Any]) -> None:
        if answer.get("op") == "refused" and answer.get("id") in self.canaries:
            self.canaries.discard(answer["id"])
            self.canaries_refused += 1
        else:
            super().heard(answer)

    def between(self, now_s: float) -> None:
        if self.canary_at_s is None:
            self.canary_at_s = now_s + CANARY_EVERY_S
        elif now_s >= self.canary_at_s:
            self.canary_at_s += CANARY_EVERY_S
            message = self.message(self.arguments["open_topic"])
            self.canaries.add(message["id"])
            self.hand_over(message)
            self.canaries_sent += 1

    def counts(self) -> dict[str, Any]:
        told = {"canaries_sent": self.canaries_sent, "canaries_refused": self.canaries_refused}
        return {**super().counts(), **told}


def main() -> None:
    flooder = Flooder(json.loads(sys.argv[1]))
    flooder.join()
    flooder.greet()
    flooder.flood()


if __name__ == "__main__":
    main()
