"""The small parts of the engine: histogram, counts, wheel, timer, arrivals, template."""

from __future__ import annotations

import math
import select
from itertools import pairwise
from time import perf_counter_ns

import pytest
from gevent.monkey import get_original
from hypothesis import given
from hypothesis import strategies as st

from locustfiles.engine import arrivals
from locustfiles.engine.arrivals import Constant, Poisson
from locustfiles.engine.counts import Counts
from locustfiles.engine.histogram import Histogram, highest_equal, lowest_equal
from locustfiles.engine.sources import Source, Template, encode
from locustfiles.engine.timer import Timer
from locustfiles.engine.wheel import PLACES, TICK_NS, Wheel
from tests.flood.shapes import ShapeSource

MS = 1_000_000

# Histogram


@given(st.integers(0, 2**40))
def test_a_bucket_holds_its_value_within_a_thousandth(value_us: int) -> None:
    low, high = lowest_equal(value_us), highest_equal(value_us)
    assert low <= value_us <= high and high - low <= value_us / 1000
    assert lowest_equal(high) == low and lowest_equal(high + 1) > low


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=200), st.sampled_from([1, 50, 90, 99, 99.9, 100]))
def test_percentiles_are_those_of_the_values(values: list[int], percent: float) -> None:
    one, half = Histogram(), Histogram()
    for number, value in enumerate(values):
        (one if number % 2 else half).add(value)
    one.extend(half)
    true = sorted(values)[max(0, math.ceil(percent / 100 * len(values) - 1e-9) - 1)]
    assert true <= one.percentile(percent) <= true * 1.001
    assert (one.total, one.sum_us, one.lowest_us, one.highest_us) == (
        len(values),
        sum(values),
        min(values),
        max(values),
    )


def test_an_empty_histogram_says_nothing() -> None:
    one = Histogram()
    one.extend(Histogram())
    assert (one.total, one.mean_us, one.percentile(99)) == (0, 0.0, 0)


# Counts


def test_counts_are_handed_over_once_and_kept_in_all() -> None:
    counts = Counts()
    counts.add("GET /", "ok", 200, 1_500_000, 10)
    counts.add("GET /", "failed", 500, 2_000_000, 3)
    counts.add("GET /", "failed", 0, 9_000_000, 0, "timed out")
    counts.learn(b"head", 40, ("GET /", "ok", 200), 10)
    for latency_ns in (1_000, 2_000_999):
        counts.known[b"head"][1](latency_ns)
    batches = {(one.outcome, one.status): one for one in counts.flush()}
    ok = batches["ok", 200]
    assert (ok.count, ok.bytes, ok.lowest_us, ok.highest_us, ok.sum_us) == (3, 30, 1, 2000, 3501)
    assert ok.latencies_us == {1: 1, 1500: 1, 2000: 1} and ok.errors == {}
    assert batches["failed", 500].errors == {"status 500": 1} and batches["failed", 0].errors == {"timed out": 1}
    assert counts.flush() == []
    assert counts.totals == {("GET /", "ok", 200): 3, ("GET /", "failed", 500): 1, ("GET /", "failed", 0): 1}
    assert counts.errors == {("GET /", "status 500"): 1, ("GET /", "timed out"): 1} and counts.bytes == 33
    assert counts.histogram("ok").total == 3 and counts.histogram().total == 5


def test_a_head_that_is_learnt_twice_loses_no_count_and_an_old_one_is_forgotten() -> None:
    counts = Counts()
    key = ("GET /", "ok", 200)
    counts.learn(b"head", 40, key, 10)
    counts.known[b"head"][1](5)
    counts.learn(b"head", 40, key, 10)
    assert [one.count for one in counts.flush()] == [1]
    assert counts.flush() == [] and counts.known == {}
    counts.learn(b"head", 40, key, 10)
    counts.known[b"head"][1](5)
    assert [one.count for one in counts.flush()] == [1]


# Wheel


class Waiter:
    def __init__(self, deadline_ns: int) -> None:
        self.deadline_ns = deadline_ns
        self.place = 0


@given(st.lists(st.integers(1, 3 * PLACES * TICK_NS), max_size=20), st.integers(TICK_NS // 3, 700 * TICK_NS))
def test_each_deadline_is_met_once_and_never_before(deadlines: list[int], step_ns: int) -> None:
    wheel = Wheel(0)
    waiting = [Waiter(one) for one in deadlines]
    for one in waiting:
        wheel.put(one)
    met: list[Waiter] = []
    for now_ns in range(0, 4 * PLACES * TICK_NS + 2 * step_ns, step_ns):
        for one in wheel.due(now_ns):
            assert isinstance(one, Waiter)
            assert one.deadline_ns <= now_ns <= one.deadline_ns + 2 * TICK_NS + step_ns
            met.append(one)
    assert sorted(map(id, met)) == sorted(map(id, waiting))


def test_a_deadline_may_move_either_way_or_vanish() -> None:
    wheel = Wheel(0)
    later, sooner, none = Waiter(10 * TICK_NS), Waiter(400 * TICK_NS), Waiter(10 * TICK_NS)
    for one in (later, sooner, none):
        wheel.put(one)
    later.deadline_ns, sooner.deadline_ns, none.deadline_ns = 30 * TICK_NS, 5 * TICK_NS, 0
    wheel.put(sooner)
    assert wheel.due(7 * TICK_NS) == [sooner]
    assert wheel.due(25 * TICK_NS) == [] and none.place == 0
    assert wheel.due(32 * TICK_NS) == [later]
    assert wheel.due(500 * TICK_NS) == []


# Timer


def test_the_timer_wakes_an_epoll_on_time() -> None:
    timer, epoll = Timer(), get_original("select", "epoll")()
    epoll.register(timer.fd, select.EPOLLIN | select.EPOLLET)
    for wait_ns in (3 * MS, 1 * MS, 2 * MS):
        due_ns = perf_counter_ns() + wait_ns
        timer.arm(due_ns)
        timer.arm(due_ns)
        assert epoll.poll(5) == [(timer.fd, select.EPOLLIN)]
        assert perf_counter_ns() >= due_ns
    assert epoll.poll(0) == []
    timer.close()
    epoll.close()


# Arrivals


def times(one: arrivals.Arrivals, count: int) -> list[int]:
    found, at_ns = [], 0
    for _ in range(count):
        at_ns = one.next_ns(at_ns)
        found.append(at_ns)
    return found


def test_constant_arrivals_do_not_drift() -> None:
    found = times(Constant(3), 300_000)
    assert abs(found[-1] - 100_000 * arrivals.NS) <= 2
    assert {b - a for a, b in pairwise(found)} <= {333_333_333, 333_333_334}


def test_poisson_arrivals_are_seeded_and_exponential() -> None:
    found = times(Poisson(1000, "a"), 50_000)
    assert found == times(Poisson(1000, "a"), 50_000) != times(Poisson(1000, "b"), 50_000)
    gaps = [b - a for a, b in pairwise(found)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(MS, rel=0.03)
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.05)
    assert sum(gap > 2 * mean for gap in gaps) / len(gaps) == pytest.approx(math.exp(-2), rel=0.1)


def test_arrivals_that_are_none() -> None:
    with pytest.raises(ValueError, match="there are constant, poisson"):
        arrivals.named("burst", 5)
    for rate_per_s in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="is none"):
            arrivals.named("constant", rate_per_s)


# Template


def test_a_template_gives_each_id_once_with_the_right_length() -> None:
    source = Template("POST /x", encode("POST", "/x", "h", b'{"id":"i-{id}"}'), total=3, first=7)
    taken = [source.take(0) for _ in range(3)]
    assert source.settled is False and source.take(0) is None and source.settled
    bodies = [request.split(b"\r\n\r\n")[1] for _, request in filter(None, taken)]
    assert bodies == [b'{"id":"i-%012d"}' % number for number in (7, 8, 9)]
    assert all(b"Content-Length: %d\r\n" % len(bodies[0]) in request for _, request in filter(None, taken))
    assert isinstance(source, Source) and isinstance(ShapeSource(["plain"], 1), Source)


def test_what_cannot_be_a_request_is_refused() -> None:
    with pytest.raises(ValueError, match="2 times"):
        Template("POST /x", b"{id}{id}")
    with pytest.raises(ValueError, match="line end"):
        encode("GET", "/", "h", headers={"X": "a\r\nB: c"})


def test_a_template_tells_safeguards_from_failures() -> None:
    source = Template("POST /x", b"x", length=4)
    told = [(200, 4, None), (200, 5, None), (429, 0, None), (503, 0, 1.0), (503, 0, None), (500, 4, None)]
    assert [source.judge(*one) for one in told] == ["ok", "failed", "limited", "shed", "failed", "failed"]
