"""Two Locust users on the flood engine: one that is many connections, and one that is one; both in Locust's numbers.

    class Intents(FloodUser):
        connections = 200

        def source(self) -> Source:
            return Template("POST /api/htm/intents", encode("POST", "/api/htm/intents", "grace", BODY))

It needs nothing but Locust: `locust -f FILE --host http://127.0.0.1:8000`. One user is one engine with all of its
`connections`. The source runs in the engine's greenlet and must never block.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from gevent.lock import Semaphore
from locust import User, task
from locust import stats as locust_stats
from locust.exception import StopUser
from locust.stats import RequestStats, StatsEntry, StatsError

from harness.interrupts import interrupt_main
from harness.traffic import rounded
from locustfiles.engine import arrivals
from locustfiles.engine.counts import Batch
from locustfiles.engine.green import Answer, Judge, Pool, judged
from locustfiles.engine.loop import Engine
from locustfiles.engine.sources import Source, encode

logger = logging.getLogger(__name__)
Rows = list[tuple[str, str, int, dict[int, int]]]


class FloodUser(User):
    """Subclasses say which source; closed loop without a *rate_per_s*."""

    abstract = True
    user_name = "flood"  # in the harness's rows
    connections = 100
    source_addresses: Sequence[str] = ()
    rate_per_s: float | None = None
    arrivals = "constant"  # or "poisson"; when requests are due in an open loop
    arrivals_seed: object = 0
    connect_timeout_s = 3.0
    answer_timeout_s = 30.0
    drain_s: float | None = None  # how long a graceful stop waits for answers; None: as long as --stop-timeout says
    engine: Engine | None = None

    def source(self) -> Source:
        raise NotImplementedError(f"{type(self).__name__} has no source()")

    def settled(self) -> None:
        """Called when the source has settled, in the user's greenlet; then the user ends."""

    @task
    def flood(self) -> None:
        interrupt_main(logger.info)  # Python's own handler would tear an answer from its count
        try:
            engine = self.engine = self._engine()
            try:
                engine.run()
            finally:
                logger.info("%s: %s", type(self).__name__, "  ".join(f"{key} {n}" for key, n in engine.facts.items()))
        except Exception as error:  # Locust would call this task again, and again
            logger.exception("%s ends: %s", type(self).__name__, error)
            self.environment.events.user_error.fire(user_instance=self, exception=error, tb=error.__traceback__)
            raise StopUser from error
        if not engine.stopped:
            self.settled()
        raise StopUser

    def _engine(self) -> Engine:
        due = None
        if self.rate_per_s is not None:
            due = arrivals.named(self.arrivals, self.rate_per_s, self.arrivals_seed)
        return Engine(
            address_of(self.host),
            self.source(),
            connections=self.connections,
            source_addresses=self.source_addresses,
            arrivals=due,
            permitted=getattr(self.environment.parsed_options, "permitted", ()),
            connect_timeout_s=self.connect_timeout_s,
            answer_timeout_s=self.answer_timeout_s,
            drain_s=float(self.environment.stop_timeout or 0) if self.drain_s is None else self.drain_s,
            sink=lambda batches: count(self.environment, self.user_name, batches),
        )

    def stop(self, force: bool = False) -> bool:
        if self.engine is not None and not force:
            self.engine.stop()
        return bool(super().stop(force))


class GreenUser(User):
    """A user as Locust means it, one request at a time, on the engine's connections: for slow targets.

    `self.client.request("POST", "/x", b"...")` in a task waits for the answer; no other client costs as little.
    """

    abstract = True
    user_name = "green"
    source_address = ""
    connect_timeout_s = 3.0
    answer_timeout_s = 30.0

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self.client = GreenClient(self)

    def start(self, group: Any) -> Any:
        greenlet = super().start(group)
        greenlet.rawlink(lambda _: self.client.leave())  # also when a subclass forgets it
        return greenlet

    def on_stop(self) -> None:
        self.client.leave()


class GreenClient:
    """What a GreenUser sends with. All users of a class share a pool, which ends with the last of them."""

    def __init__(self, user: GreenUser) -> None:
        self.user = user
        self.host = urlsplit(user.host or "").netloc
        self._pool: Pool | None = None

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
        name: str = "",
        judge: Judge = judged,
    ) -> Answer:
        """*judge* says under which outcome it is counted: ok, limited, shed, rejected, failed."""
        pool = self._pool or self.join()
        request = encode(method, path, self.host, body, headers, b"\0")
        return pool.send(f"{method} {name or path}", request, judge)

    def join(self) -> Pool:
        user = self.user
        with _pools(user.environment).lock:
            self._pool = pool = _pools(user.environment).of.get(type(user)) or self._new_pool()
            pool.join()
        return pool

    def leave(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None and pool.leave():
            del _pools(self.user.environment).of[type(self.user)]

    def _new_pool(self) -> Pool:
        user = self.user
        pool = Pool(
            address_of(user.host),
            source_address=user.source_address,
            permitted=getattr(user.environment.parsed_options, "permitted", ()),
            connect_timeout_s=user.connect_timeout_s,
            answer_timeout_s=user.answer_timeout_s,
            sink=lambda batches: count(user.environment, user.user_name, batches),
        )
        _pools(user.environment).of[type(user)] = pool
        return pool


class _Pools:
    """The pools of an environment, by the class of their users. To make one takes a look-up, which lets others run."""

    def __init__(self) -> None:
        self.lock = Semaphore()
        self.of: dict[type, Pool] = {}


def _pools(environment: Any) -> _Pools:
    if not hasattr(environment, "flood_pools"):
        environment.flood_pools = _Pools()
    found: _Pools = environment.flood_pools
    return found


def count(environment: Any, user_name: str, batches: list[Batch]) -> None:
    """Every 100 ms, and at the end."""
    add(environment.stats, batches, time.time())
    tell(environment, user_name, batches)


def address_of(host: str | None) -> tuple[str, int]:
    """Where *host*, as Locust has it, is found: http://NAME[:PORT]."""
    url = urlsplit(host or "")
    if url.scheme != "http" or not url.hostname:
        raise ValueError(f"a flood needs --host http://NAME[:PORT], not {host!r}")
    return url.hostname, url.port or 80


def add(stats: RequestStats, batches: Iterable[Batch], now_s: float) -> None:
    """Adds to Locust's own numbers. `events.request` is not fired for any of these: it would count them twice."""
    for batch in batches:
        method, _, name = batch.name.partition(" ")
        entry = StatsEntry(stats, name, method)
        entry.num_requests = batch.count
        entry.num_failures = sum(batch.errors.values())
        entry.total_response_time = batch.sum_us / 1000
        entry.min_response_time = batch.lowest_us / 1000
        entry.max_response_time = batch.highest_us / 1000
        entry.total_content_length = batch.bytes
        entry.last_request_timestamp = now_s
        entry.num_reqs_per_sec[int(now_s)] = batch.count
        if entry.num_failures:
            entry.num_fail_per_sec[int(now_s)] = entry.num_failures
        entry.response_times.update(by_ms(batch.latencies_us, locust_stats.bucket_response_time))
        stats.entries[(name, method)].extend(entry)
        stats.total.extend(entry)
        for why, count in batch.errors.items():
            _add_error(stats, method, name, why, count, now_s)


def _add_error(stats: RequestStats, method: str, name: str, why: str, count: int, now_s: float) -> None:
    key = StatsError.create_key(method, name, why)
    error = stats.errors.get(key)
    if error is None:
        error = stats.errors[key] = StatsError(method, name, why, first_seen=now_s)
    error.occurrences += count
    error.last_seen = now_s


def tell(environment: Any, user_name: str, batches: Iterable[Batch]) -> None:
    """Hands the harness its rows, when it has asked for them: `environment.counts(user_name, rows)`."""
    take = getattr(environment, "counts", None)
    if take is not None:
        rows: Rows = [(one.name, one.outcome, one.status, by_ms(one.latencies_us, rounded)) for one in batches]
        take(user_name, rows)


def by_ms(latencies_us: Mapping[int, int], rounding: Any) -> dict[int, int]:
    found: dict[int, int] = {}
    for value_us, count in latencies_us.items():
        value_ms = rounding(value_us / 1000)
        found[value_ms] = found.get(value_ms, 0) + count
    return found
