"""In an open loop what comes back later has an arrival of its own: while nothing was due, nothing was late."""

from __future__ import annotations

import heapq
from typing import Any

from gevent.monkey import get_original

from locustfiles.attacks import intents
from locustfiles.attacks.settling import Settling
from locustfiles.engine.arrivals import Constant, Poisson
from locustfiles.engine.exchange import Exchange

MS = 1_000_000
S = 1000 * MS
GAP = 10 * MS
ANSWER = MS


class Answering:
    """An exchange's arrivals with a clock set by hand, and a target that answers each request after 1 ms."""

    def __init__(self, source: Any, connections: int) -> None:
        self.now_ns = 0
        self.source = source
        self.free = connections
        self.under_way: list[tuple[int, int, Any]] = []
        self.since_ns: list[tuple[int, int]] = []  # (meant to be sent, sent)
        self.epoll = get_original("select", "epoll")()
        self.exchange = Exchange(
            ("127.0.0.1", 1), source, self.epoll, connections=connections, arrivals=Constant(S / GAP),
            connect_ns=S, answer_ns=S,
        )  # fmt: skip
        self.exchange.start(0)

    def run(self, answer: Any) -> None:
        """*answer(token, times)*: what the target says, as answered() takes it."""
        for number in range(100_000):
            while self.free and (took := self.exchange.take(self.now_ns)) is not None:
                self.free -= 1
                self.since_ns.append((took[2], self.now_ns))
                heapq.heappush(self.under_way, (self.now_ns + ANSWER, number, took[0]))
            if self.source.settled:
                self.epoll.close()
                return
            times = [at for at, _, _ in self.under_way[:1]]
            if self.free and self.exchange.due_ns > self.now_ns:
                times.append(self.exchange.due_ns)
            self.now_ns = max(self.now_ns, min(times))
            while self.under_way and self.under_way[0][0] <= self.now_ns:
                _, _, token = heapq.heappop(self.under_way)
                self.free += 1
                self.source.answered(token, *answer(token), ANSWER)
        raise AssertionError("it does not settle")

    @property
    def late_ns(self) -> list[int]:
        return [sent_ns - meant_ns for meant_ns, sent_ns in self.since_ns]


def settling(hand: list[Answering], total: int, invalid_ratio: float = 0.0) -> Settling:
    return Settling(
        intents.generate(7, total, invalid_ratio), path="/x", host="h", user="u", seed=7,
        now_s=lambda: 0.0, clock_ns=lambda: hand[0].now_ns,
    )  # fmt: skip


def limited_once(token: Any) -> tuple[int, bytes, float | None]:
    again = token.payload.number % 2 and token.attempts == 1
    return (429, b"", 3.0) if again else (200, b"{}", None)


def test_a_retry_is_late_by_nothing_but_its_own_arrival() -> None:
    hand: list[Answering] = []
    source = settling(hand, 100)
    hand.append(one := Answering(source, 50))
    one.run(limited_once)
    assert len(one.since_ns) == 150
    assert max(one.late_ns) == 0, "each is sent at an arrival, and the clock stands still meanwhile"
    meant = [meant_ns for meant_ns, _ in one.since_ns]
    assert meant == sorted(set(meant)) and all(at_ns % GAP == 0 for at_ns in meant), "no two at the same arrival"
    assert meant[:100] == [GAP * number for number in range(1, 101)], "what was fresh came without a gap"
    assert meant[100] > 3 * S, "nobody came back before he was told to"
    assert one.exchange.lag.total == 150 and one.exchange.lag.highest_us == 0


def test_what_an_answer_sets_free_is_due_at_the_next_arrival_after_it() -> None:
    """A duplicate waits until the other one is accepted: the source had nothing (None) in between."""

    def slow(token: Any) -> tuple[int, bytes, float | None]:
        if token.payload.valid and token.attempts == 1:
            return 429, b"", 2.0
        return (200 if token.payload.valid else 409), b"{}", None

    hand: list[Answering] = []
    source = settling(hand, 200, 0.5)
    hand.append(one := Answering(source, 50))
    one.run(slow)
    assert source.outcomes["limited"] > 50 and max(one.late_ns) == 0


def test_where_all_connections_are_busy_a_retry_waits_from_its_own_time_on() -> None:
    """Arrivals pile up behind one connection that is held for a second; a retry is no older than its Retry-After."""
    hand: list[Answering] = []
    source = settling(hand, 2)
    hand.append(one := Answering(source, 1))
    first = (one.exchange.take(GAP), one.exchange.take(2 * GAP))
    assert first[0] is not None and first[1] is not None
    one.now_ns = 2 * GAP
    source.answered(first[0][0], 429, b"", 1.0, ANSWER)  # due from 1.02 s on, and at 2.02 s at the latest
    source.answered(first[1][0], 200, b"{}", None, ANSWER)
    late = one.exchange.take(5 * S)  # the first look since: the loop had no connection to give
    assert late is not None and 1.02 * S <= late[2] <= 2.03 * S
    one.epoll.close()


def test_arrivals_that_nobody_came_at_are_passed_over_without_drift() -> None:
    constant, by_one = Constant(3.0), Constant(3.0)
    at_ns = by_one.next_ns(0)
    for _ in range(89):
        at_ns = by_one.next_ns(at_ns)
    assert abs(constant.from_ns(constant.next_ns(0), 30 * S - 5) - at_ns) <= 2
    assert constant.from_ns(7 * S, 6 * S) == 7 * S, "one that is still to come stays"
    poisson = Poisson(100.0, 1)
    waits_s = [(poisson.from_ns(0, 5 * S) - 5 * S) / S for _ in range(2000)]
    assert min(waits_s) >= 0 and 0.009 < sum(waits_s) / 2000 < 0.011
    assert poisson.from_ns(7 * S, 6 * S) == 7 * S
