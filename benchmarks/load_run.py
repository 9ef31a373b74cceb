"""What is read inside of each Locust process of the load benchmark, in ours as in its peers.

So many requests are handed out, the clocks are read at the first and at the last of them, and all the while a greenlet
that does nothing else than to sleep tells how late it was. At the end it prints one line of JSON, with Locust's totals.
"""

from __future__ import annotations

import json
import time
from typing import Any

import gevent
from locust import events
from locust.env import Environment

from benchmarks.load_server import PATH
from benchmarks.load_truth import percentile

LAG_EVERY_S = 0.01


class Run:
    """So many requests, handed out one by one; it reads the clocks at the first and at the last of them."""

    def __init__(self, environment: Environment) -> None:
        options = environment.parsed_options
        self.environment = environment
        self.asked = self.left = int(options.bench_requests)
        self.path = str(options.bench_path)
        self.rate_per_s: float | None = options.bench_rate
        self.answered = 0
        self.from_s = self.until_s = self.from_cpu_s = self.until_cpu_s = 0.0
        self.lags_s: list[float] = []
        self.probe: gevent.Greenlet | None = None
        self.extra: dict[str, float] = {}  # what else this user tells

    def take(self) -> int | None:
        """The number of the next request, None when all are handed out."""
        if self.left == 0:
            return None
        if self.probe is None:
            self.begin()
        self.left -= 1
        return self.asked - self.left

    def done(self) -> None:
        self.answered += 1
        if self.answered == self.asked:
            self.end()

    def begin(self) -> None:
        self.from_s, self.from_cpu_s = time.perf_counter(), time.process_time()
        self.probe = gevent.spawn(self._watch)

    def end(self) -> None:
        self.until_s, self.until_cpu_s = time.perf_counter(), time.process_time()
        if self.probe is not None:
            self.probe.kill(block=False)
        gevent.spawn(self.environment.runner.quit)  # not in here: it ends this greenlet too

    def _watch(self) -> None:
        """How late a greenlet comes back that does nothing else than to sleep."""
        while True:
            before_s = time.perf_counter()
            gevent.sleep(LAG_EVERY_S)
            self.lags_s.append(time.perf_counter() - before_s - LAG_EVERY_S)

    def told(self) -> dict[str, Any]:
        total = self.environment.stats.total
        return {
            "requests": total.num_requests,
            "failures": total.num_failures,
            "bytes": total.total_content_length,
            "seconds": self.until_s - self.from_s,
            "cpu_s": self.until_cpu_s - self.from_cpu_s,
            "lag_ms_p99": 1000 * percentile(self.lags_s, 0.99) if self.lags_s else None,
            **self.extra,
        }


RUN: list[Run] = []


@events.init_command_line_parser.add_listener
def add_options(parser: Any) -> None:
    parser.add_argument("--bench-requests", type=int, default=1000, help="requests in all, by all users together")
    parser.add_argument("--bench-path", default=PATH)
    parser.add_argument("--bench-rate", type=float, help="open loop: requests due in a second")


@events.init.add_listener
def make_run(environment: Environment, **_: Any) -> None:
    RUN[:] = [Run(environment)]


@events.quitting.add_listener
def tell(environment: Environment, **_: Any) -> None:
    print(json.dumps(RUN[0].told()), flush=True)
