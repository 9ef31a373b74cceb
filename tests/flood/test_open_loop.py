"""In an open loop a target that stands still is seen by all who came meanwhile, not only by those under way."""

from __future__ import annotations

import signal

import pytest

from locustfiles.engine.arrivals import Constant
from locustfiles.engine.counts import Counts
from locustfiles.engine.loop import Engine
from locustfiles.engine.sources import Template, encode
from tests.flood.shapes import Server, hostile, later

RATE_PER_S, TOTAL = 400, 1200
STILL_S = 1.0


def stalled(server: Server, connections: int, arrivals: Constant | None) -> Engine:
    """A run of 3 s in whose middle the server stands still for a second."""
    source = Template("GET /plain", encode("GET", "/plain/{id}", "x"), total=TOTAL if arrivals else None)
    engine = Engine(
        ("127.0.0.1", server.port), source, connections=connections, arrivals=arrivals, answer_timeout_s=60.0
    )
    later(1.0, lambda: server.process.send_signal(signal.SIGSTOP))
    later(1.0 + STILL_S, lambda: server.process.send_signal(signal.SIGCONT))
    if arrivals is None:
        later(3.0, engine.stop)
    engine.run()
    return engine


def later_than(counts: Counts, limit_s: float) -> int:
    return sum(count for value_us, count in counts.histogram().counts.items() if value_us > limit_s * 1e6)


@pytest.mark.parametrize("connections", [2, 600])
def test_all_who_came_in_the_stall_waited_for_its_end(connections: int) -> None:
    """With few connections they queue here, with many at the target: their latency is the same."""
    with hostile() as server:
        engine = stalled(server, connections, Constant(RATE_PER_S))
    counts = engine.counts
    assert counts.totals == {("GET /plain", "ok", 200): TOTAL}
    for limit_s in (0.25, 0.5, 0.75):
        assert later_than(counts, limit_s) == pytest.approx(RATE_PER_S * (STILL_S - limit_s), abs=RATE_PER_S * 0.15)
    assert counts.histogram().percentile(100) / 1e6 == pytest.approx(STILL_S, abs=0.15)
    lag_s = engine.send_lag.percentile(100) / 1e6
    assert engine.send_lag.total == TOTAL and (lag_s > 0.8) == (connections == 2)


def test_a_closed_loop_sees_it_red() -> None:
    """What coordinated omission is: only those who were under way tell of the stall."""
    with hostile() as server:
        counts = stalled(server, 2, None).counts
    assert 1 <= later_than(counts, 0.5) <= 2
    assert later_than(counts, 0.5) != pytest.approx(RATE_PER_S * 0.5, abs=RATE_PER_S * 0.15)
