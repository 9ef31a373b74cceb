"""Our users in the load benchmark: a locustfile.

locust -f benchmarks/load_ours.py --headless --users 1 --bench-requests 100000 [--bench-rate 10000] Flood
"""

from __future__ import annotations

import json
from typing import Any

from locust import task
from locust.exception import StopUser

from benchmarks.load_run import RUN, Run
from benchmarks.load_server import ANSWER, BODY_HEAD, BODY_TAIL, body
from locustfiles.engine.green import Answer
from locustfiles.engine.sources import MARK, Source, Template, encode
from locustfiles.flood import FloodUser, GreenUser

CONNECTIONS = 100
KIND = {"Content-Type": "application/json"}


def host_of(user: FloodUser) -> str:
    return (user.host or "").partition("//")[2]


class Flood(FloodUser):
    """The same intent over and over, each with an id of its own; status and length of each answer are looked at."""

    connections = CONNECTIONS

    def on_start(self) -> None:
        self.rate_per_s = RUN[0].rate_per_s

    def source(self) -> Source:
        run = RUN[0]
        text = (BODY_HEAD + MARK.decode() + BODY_TAIL).encode()
        request = encode("POST", run.path, host_of(self), text, KIND)
        run.begin()
        return Template(f"POST {run.path}", request, total=run.asked, statuses=(200,), length=len(ANSWER))

    def settled(self) -> None:
        run = RUN[0]
        run.end()
        assert self.engine is not None
        run.extra["p99_ms"] = self.engine.counts.histogram().percentile(99) / 1000
        lag = self.engine.send_lag
        run.extra["send_lag_ms_p99"] = lag.percentile(99) / 1000 if lag.total else 0.0


class Green(GreenUser):
    """As Locust's own: one task, no wait, a user for each connection."""

    @task
    def post(self) -> None:
        run = RUN[0]
        number = run.take()
        if number is None:
            raise StopUser
        self.client.request("POST", run.path, body(number), headers=KIND, judge=right)
        run.done()


def right(answer: Answer) -> str:
    return "ok" if answer.status == 200 and len(answer.body) == len(ANSWER) else "failed"


class Turns:
    """A valid intent and an invalid one in turn, each sent once; what was answered to which is counted."""

    def __init__(self, run: Run, host: str) -> None:
        self.name = f"POST {run.path}"
        self.run, self.under_way = run, 0
        valid = {"goal": "free memory", "expected_outcome": "done", "created_by": "bench", "sla_ms": 5000}
        self.forms = [
            Template("", encode("POST", run.path, host, json.dumps({"intent_id": "{id}", **body}).encode(), KIND))
            for body in ({**valid, "domain": "query"}, {**valid, "domain": "astrology"})
        ]
        self.told = {"accepted": 0, "refused": 0, "rejected": 0, "invalid": 0}

    def take(self, now_ns: int) -> tuple[Any, bytes] | None:
        number = self.run.take()
        if number is None:
            return None
        self.under_way += 1
        invalid = number % 2
        self.told["invalid"] += invalid
        return number, self.forms[invalid].encode(b"%012d" % number)

    def answered(self, token: int, status: int, body: bytes, retry_after_s: float | None, latency_ns: int) -> str:
        self.under_way -= 1
        words = {422: "rejected"} if token % 2 else {200: "accepted", 503: "refused"}
        word = words.get(status)
        if word is None:
            return "failed"
        self.told[word] += 1
        return {"accepted": "ok", "refused": "shed", "rejected": "rejected"}[word]

    def lost(self, token: int, why: str) -> None:
        self.under_way -= 1

    @property
    def settled(self) -> bool:
        return self.run.left == 0 and self.under_way == 0


class Intents(FloodUser):
    """For the embedded Grace."""

    connections = CONNECTIONS

    def source(self) -> Source:
        run = RUN[0]
        run.begin()
        self.turns = Turns(run, host_of(self))
        return self.turns

    def settled(self) -> None:
        run = RUN[0]
        run.end()
        run.extra.update(self.turns.told)
