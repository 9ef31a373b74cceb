"""A user a greenlet, on the engine's connections: for slow targets, where Locust's "users" shall keep their meaning.

Many clients share one Pool, as many connections as clients. A client's greenlet sends its request itself, and is
switched back to when its answer is whole; in between nothing of it runs. All reading happens in the hub.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from time import perf_counter_ns
from typing import Any, NamedTuple

import gevent
from gevent.monkey import get_original

from harness.hosts import resolve
from locustfiles.engine.connection import Connection, close_all
from locustfiles.engine.counts import Batch, Counts
from locustfiles.engine.exchange import Exchange
from locustfiles.engine.loop import BATCH, FLUSH_TICKS, SECOND_NS, SLICE_NS
from locustfiles.engine.wheel import TICK_NS

BACKOFF_MAX_NS = 100_000_000  # a user that gets nothing tries again, as a person does


class Answer(NamedTuple):
    """*status* 0: none came, and *why*."""

    status: int
    body: bytes
    retry_after_s: float | None
    latency_ns: int
    why: str = ""


Judge = Callable[[Answer], str]


def judged(answer: Answer) -> str:
    """The outcome when nobody says otherwise."""
    if 200 <= answer.status < 300:
        return "ok"
    if answer.status == 429:
        return "limited"
    return "shed" if answer.status == 503 and answer.retry_after_s is not None else "failed"


class Waiting:
    """A request of a client, from its call to its answer."""

    __slots__ = ("answer", "called_ns", "error", "greenlet", "judge", "name", "request")

    def __init__(self, name: str, request: bytes, judge: Judge, called_ns: int) -> None:
        self.called_ns = called_ns
        self.name, self.request, self.judge = name, request, judge
        self.greenlet: Any = None
        self.answer: Answer | None = None
        self.error: Exception | None = None


class _Calls:
    """The source of the exchange: what clients want to send now."""

    name = ""
    settled = False

    def __init__(self) -> None:
        self.wanted: deque[Waiting] = deque()
        self.back: list[Waiting] = []

    def name_of(self, token: Waiting) -> str:
        return token.name

    def take(self, now_ns: int) -> tuple[Waiting, bytes, int] | None:
        if not self.wanted:
            return None
        one = self.wanted.popleft()
        return one, one.request, one.called_ns

    def answered(self, token: Waiting, status: int, body: bytes, retry_after_s: float | None, latency_ns: int) -> str:
        token.answer = Answer(status, body, retry_after_s, latency_ns)
        self.back.append(token)
        try:
            return token.judge(token.answer)
        except Exception as error:  # it is the client's own, and raised there
            token.error = error
            return "failed"

    def lost(self, token: Waiting, why: str) -> None:
        token.answer = Answer(0, b"", None, perf_counter_ns() - token.called_ns, why)
        self.back.append(token)


class Pool:
    """The connections of many clients to one address. close() when the last of them has left."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        source_address: str = "",
        permitted: Iterable[str] = (),
        connect_timeout_s: float = 3.0,
        answer_timeout_s: float = 30.0,
        sink: Callable[[list[Batch]], None] | None = None,
    ) -> None:
        resolved = resolve(*address, permitted)
        self._epoll = get_original("select", "epoll")()
        self._calls = _Calls()
        self._exchange = Exchange(
            resolved,
            self._calls,
            self._epoll,
            connections=0,
            arrivals=None,
            connect_ns=int(connect_timeout_s * SECOND_NS),
            answer_ns=int(answer_timeout_s * SECOND_NS),
            backoff_max_ns=BACKOFF_MAX_NS,
        )
        self._answer_ns = int(answer_timeout_s * SECOND_NS)
        self._source_address, self._sink = source_address, sink
        self._hub = gevent.get_hub()
        self._watcher = self._hub.loop.io(self._epoll.fileno(), 1)
        self._watcher.start(self._ready)
        self._timer = self._hub.loop.timer(TICK_NS / SECOND_NS, TICK_NS / SECOND_NS)
        self._timer.start(self._tick)
        self._ticks = 0
        self.clients = 0

    @property
    def counts(self) -> Counts:
        return self._exchange.counts

    def join(self) -> None:
        """One client more, so one connection more; it is made with its first request."""
        self.clients += 1
        if self.clients > len(self._exchange.all):
            connection = Connection(self._source_address, self._answer_ns)
            self._exchange.all.append(connection)
            self._exchange.shut.append(connection)

    def leave(self) -> bool:
        """Whether it was the last one; then the pool is closed."""
        self.clients -= 1
        if self.clients:
            return False
        self.close()
        return True

    def send(self, name: str, request: bytes, judge: Judge = judged) -> Answer:
        """Sends *request* and waits for what becomes of it. *name* is METHOD and route, as it is counted."""
        now_ns = perf_counter_ns()
        one = Waiting(name, request, judge, now_ns)
        self._calls.wanted.append(one)
        self._exchange.feed(now_ns)
        if one.answer is None:
            one.greenlet = gevent.getcurrent()
            try:
                self._hub.switch()
            finally:
                one.greenlet = None  # killed meanwhile: what was sent is counted, and nobody is woken
                if one in self._calls.wanted:
                    self._calls.wanted.remove(one)
        else:
            self._calls.back.remove(one)
        if one.error is not None:
            raise one.error
        assert one.answer is not None
        return one.answer

    def flush(self) -> None:
        batches = self._exchange.counts.flush()
        if batches and self._sink is not None:
            self._sink(batches)

    def close(self) -> None:
        """Nobody waits any more."""
        self._watcher.stop()
        self._watcher.close()
        self._timer.stop()
        self._timer.close()
        self._exchange.abandon()
        self.flush()
        close_all(self._exchange.graves)
        self._epoll.close()

    # In the hub

    def _ready(self) -> None:
        exchange, poll, by_fd = self._exchange, self._epoll.poll, self._exchange.by_fd
        until_ns = perf_counter_ns() + SLICE_NS
        while not self._epoll.closed:
            events = poll(0, BATCH)
            for fd, flags in events:
                exchange.ready(by_fd[fd], fd, flags)
            close_all(exchange.graves)
            self._wake()
            if len(events) < BATCH or perf_counter_ns() >= until_ns:
                break  # what has come meanwhile keeps the epoll readable: the hub calls again

    def _wake(self) -> None:
        """Each client whose answer is there goes on at once, until it waits for something."""
        back = self._calls.back
        while back:
            one = back.pop()
            if one.greenlet is not None:
                one.greenlet.switch()

    def _tick(self) -> None:
        self._exchange.expire(perf_counter_ns())
        self._ticks += 1
        if self._ticks % FLUSH_TICKS == 0:
            self.flush()
        self._wake()
