"""The engine: one greenlet, one edge-triggered epoll, woken through the hub by the epoll's own descriptor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import perf_counter_ns
from typing import Any

import gevent
from gevent.monkey import get_original

from harness.hosts import resolve
from locustfiles.engine.arrivals import Arrivals
from locustfiles.engine.connection import close_all
from locustfiles.engine.counts import Batch, Counts
from locustfiles.engine.exchange import EVENTS, Exchange
from locustfiles.engine.fast import handler
from locustfiles.engine.histogram import Histogram
from locustfiles.engine.sources import Source
from locustfiles.engine.timer import Timer
from locustfiles.engine.wheel import TICK_NS

SLICE_NS = 2_000_000  # for so long other greenlets wait
NEAR_NS = 300_000  # what is due so soon is waited for here: twice round the hub costs more than the request
GATHER_NS = 150_000  # arrivals denser than this are sent together, so much later than due: a wake costs 30 us
BATCH = 64  # events at a time, so that a slice is not overrun by much
FLUSH_TICKS = 4
SECOND_NS = 1_000_000_000


class Engine:
    """Sends what *source* gives over *connections* to *address*, until it is settled or stop() is called.

    Without *arrivals* each connection sends as soon as it is free (closed loop). With them requests are due at their
    times (open loop): they wait for a free connection, and latency counts from the time at which they were due.
    """

    def __init__(
        self,
        address: tuple[str, int],
        source: Source,
        *,
        connections: int,
        source_addresses: Sequence[str] = (),
        arrivals: Arrivals | None = None,
        permitted: Iterable[str] = (),
        connect_timeout_s: float = 3.0,
        answer_timeout_s: float = 30.0,
        drain_s: float = 1.0,
        sink: Callable[[list[Batch]], None] | None = None,
    ) -> None:
        if connections < 1:
            raise ValueError(f"{connections} connections can send nothing")
        resolved = resolve(*address, permitted)
        self._epoll = get_original("select", "epoll")()
        self._timer = Timer()
        self._exchange = Exchange(
            resolved,
            source,
            self._epoll,
            connections=connections,
            source_addresses=source_addresses,
            arrivals=arrivals,
            connect_ns=int(connect_timeout_s * SECOND_NS),
            answer_ns=int(answer_timeout_s * SECOND_NS),
        )
        self._gather_ns = GATHER_NS if arrivals is not None and arrivals.gap_ns < GATHER_NS else 0
        self._source, self._sink = source, sink
        self._drain_ns = int(drain_s * SECOND_NS)
        self._stop_ns = 0
        self._asleep = False
        self._me: Any = None
        self._hub: Any = None
        self._tick_ns = 0
        self._ticks = 0
        self._busy: list[int] = []  # how many were under way, at each tick with more to send

    # What is known of it

    @property
    def counts(self) -> Counts:
        return self._exchange.counts

    @property
    def in_flight(self) -> float:
        """How many requests were under way at a time, in the mean from the first tick on that had nearly the most.

        Only while the source had more to send: a source says so by `busy` (see sources.py).
        """
        enough = 0.95 * max(self._busy, default=0)
        since = next((at for at, count in enumerate(self._busy) if count >= enough), 0)
        counted = self._busy[since:]
        return sum(counted) / len(counted) if counted else 0.0

    @property
    def send_lag(self) -> Histogram:
        """How late requests were sent behind the times at which they were due."""
        return self._exchange.lag

    @property
    def facts(self) -> dict[str, int]:
        """What is counted apart: it is no request's outcome."""
        one = self._exchange
        return {
            "retried": one.retried,
            "unsolicited": one.unsolicited,
            "connects": one.connects,
            "short_sends": one.short_sends,
            "abandoned": one.abandoned,
        }

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop before its source had settled."""
        return bool(self._stop_ns)

    # Running

    def run(self) -> None:
        """In the greenlet that calls it. A kill of that greenlet ends it at once; all that was answered is counted."""
        self._me, self._hub = gevent.getcurrent(), gevent.get_hub()
        watcher = self._hub.loop.io(self._epoll.fileno(), 1)
        watcher.start(self._wake)
        try:
            self._begin()
            handle = handler(self._exchange)
            while not self._over():
                self._slice(handle)
                self._sleep()
        finally:
            watcher.stop()
            watcher.close()
            self._end()

    def stop(self) -> None:
        """No more is sent; what is under way may be answered for *drain_s*."""
        if not self._stop_ns:
            self._stop_ns = perf_counter_ns() + self._drain_ns
            self._exchange.stopping = True
            if self._hub is not None:
                self._hub.loop.run_callback(self._wake)

    def _begin(self) -> None:
        now_ns = perf_counter_ns()
        # an event of the timer finds a connection that was never opened under its descriptor, and means nothing else
        self._epoll.register(self._timer.fd, EVENTS)
        self._exchange.watch_timer(self._timer.fd)
        self._tick_ns = now_ns + TICK_NS
        self._exchange.start(now_ns)

    def _over(self) -> bool:
        if self._exchange.outstanding:
            return bool(self._stop_ns) and perf_counter_ns() >= self._stop_ns
        return bool(self._stop_ns) or self._source.settled

    def _slice(self, handle: Callable[[Any], None]) -> None:
        """Works for as long as there is something to do, but only for so long."""
        exchange, poll = self._exchange, self._epoll.poll
        now_ns = perf_counter_ns()
        until_ns = now_ns + SLICE_NS
        wait_s = 0.0
        while True:
            events = poll(wait_s, BATCH)
            handle(events)
            now_ns = perf_counter_ns()
            if now_ns >= self._tick_ns:
                self._tick(now_ns)
            waiting = exchange.waiting
            more = waiting and exchange.due_ns <= now_ns and exchange.feed(now_ns)
            if exchange.graves:
                close_all(exchange.graves)
            due_ns = exchange.due_ns + self._gather_ns if waiting and exchange.due_ns else 0
            if now_ns >= until_ns:
                break
            if events or more:
                wait_s = 0.0
            elif now_ns < due_ns < now_ns + NEAR_NS:
                self._timer.arm(due_ns)
                wait_s = 0.001  # at the most: the timer ends it
            else:
                break
        if more:
            self._timer.arm(now_ns)  # at once, but others come first
        else:
            self._timer.arm(min(self._tick_ns, due_ns) if due_ns > now_ns else self._tick_ns)

    def _tick(self, now_ns: int) -> None:
        self._tick_ns = now_ns + TICK_NS
        self._exchange.expire(now_ns)
        self._count_busy()
        self._ticks += 1
        if self._ticks % FLUSH_TICKS == 0:
            self._flush()
        else:
            self._exchange.counts.fold()

    def _count_busy(self) -> None:
        busy: int | None = getattr(self._source, "busy", None)
        if busy is not None:
            self._busy.append(self._exchange.outstanding if busy < 0 else busy)

    def _flush(self) -> None:
        batches = self._exchange.counts.flush()
        if batches and self._sink is not None:
            self._sink(batches)

    def _sleep(self) -> None:
        """Until the epoll has something; at least once round the hub, so that others get their turn."""
        self._asleep = True
        try:
            self._hub.switch()
        finally:
            self._asleep = False

    def _wake(self) -> None:
        if self._asleep:
            self._asleep = False
            self._me.switch()

    def _end(self) -> None:
        self._exchange.abandon()
        self._flush()
        close_all(self._exchange.graves)
        self._timer.close()
        self._epoll.close()
