"""The harness's own caller on a link: latency, loss and confidence as it sees them, never as the proxy says."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent.server import StreamServer

from faults.helpers.link_probe import LinkProbe
from harness.contracts import Link
from harness.model import Effect, Undo
from harness.primitives.restore_address import OP
from tests.flood.shapes import until

LENGTH = struct.Struct("!I")
Answer = Callable[[int], dict[str, Any] | None]  # number of the request → its answer; None: none comes


def served(answer: Answer, delay_s: float = 0.0) -> StreamServer:
    count = iter(range(1_000_000))

    def handle(sock: Any, _: Any) -> None:
        while head := sock.recv(LENGTH.size):
            sock.recv(LENGTH.unpack(head)[0])
            gevent.sleep(delay_s)
            told = answer(next(count))
            if told is not None:
                body = json.dumps(told).encode()
                sock.sendall(LENGTH.pack(len(body)) + body)

    server = StreamServer(("127.0.0.1", 0), handle)
    server.start()
    return server


@pytest.fixture
def servers() -> Iterator[Callable[..., str]]:
    made: list[StreamServer] = []

    def serve(answer: Answer, delay_s: float = 0.0) -> str:
        made.append(served(answer, delay_s))
        return f"tcp:127.0.0.1:{made[-1].server_port}"

    yield serve
    for one in made:
        one.stop()


def probed(upstream: str, proxy: str, kind: str, field: str = "") -> float:
    return measured(upstream, proxy, kind, field)[0]


def measured(
    upstream: str, proxy: str, kind: str, field: str = "", times: int = 2, jitter: float = 0.0
) -> tuple[float, float]:
    """(mean, error)."""
    link = Link(name="x", address_file=Path("x"), callee="x", callers=(), framing="u32be", probe={"op": "ping"})
    undo = Undo(primitives=({"op": OP, "ours": f"{proxy}\n", "original": upstream},))
    probe = LinkProbe(link, upstream, undo, kind, field, jitter)
    probe.sample(Effect())
    probe.attained()
    until(lambda: len(probe.values) >= times)
    probe.sample(Effect())
    probe.values.append((-1000.0, probe.attained_s + 9, 1))  # it came after the last look
    mean = probe.mean()
    probe.finish(Effect())
    assert mean is not None
    return mean, probe.error


def test_delay_is_what_the_way_adds(servers: Callable[..., str]) -> None:
    fast = servers(lambda _: {})
    assert 80 <= probed(fast, servers(lambda _: {}, 0.1), "delay") < 400
    assert probed(fast, fast, "delay") < 50


def test_a_way_that_is_slow_every_second_time_does_not_widen_its_own_error(servers: Callable[..., str]) -> None:
    """Half of the delay is not the delay that was asked for with a large spread."""
    upstream, turns = servers(lambda _: {}), iter(range(1_000_000))

    def every_second(_: int) -> dict[str, Any]:
        gevent.sleep(0.2 * (next(turns) % 2))
        return {}

    mean, error = measured(upstream, servers(every_second), "delay", times=6)
    assert 80 <= mean <= 140 and mean + error < 190
    _, wide = measured(upstream, servers(lambda _: {}, 0.1), "delay", times=6, jitter=60.0)
    assert 35 <= wide < 80, "the spread that was asked for is the probe's to allow"


def test_loss_is_the_share_without_an_answer(servers: Callable[..., str]) -> None:
    upstream = servers(lambda _: {})
    assert probed(upstream, servers(lambda number: {} if number % 2 else None), "lost") == 50.0
    assert probed(upstream, upstream, "lost") == 0.0


def test_confidence_is_against_the_way_past_the_proxy(servers: Callable[..., str]) -> None:
    upstream = servers(lambda _: {"result": {"confidence": 0.9}})
    worse = servers(lambda _: {"result": {"confidence": 0.5}})
    assert probed(upstream, worse, "confidence", "result.confidence") == pytest.approx(0.4)


def test_a_link_without_a_probe_has_no_witness() -> None:
    link = Link(name="x", address_file=Path("x"), callee="x", callers=(), framing="u32be")
    with pytest.raises(LookupError, match="probe"):
        LinkProbe(link, "tcp:127.0.0.1:1", Undo(), "delay")
