"""What the engine counts is what the server did, to the last request, for every shape of an answer."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from locustfiles.engine import heads
from locustfiles.engine.arrivals import Arrivals, Constant, Poisson
from locustfiles.engine.loop import Engine
from locustfiles.engine.sources import Source, Template, encode
from tests.flood.hostile import BAD, BODY, GOOD, SHAPES
from tests.flood.shapes import Server, ShapeSource, expected, hostile

PATIENCE_S = 60.0  # no answer that comes is taken for none, however busy the machine is


def flood(
    server: Server,
    source: Source,
    arrivals: Arrivals | None = None,
    connections: int = 16,
    answer_timeout_s: float = PATIENCE_S,
) -> Engine:
    engine = Engine(
        ("127.0.0.1", server.port),
        source,
        connections=connections,
        arrivals=arrivals,
        answer_timeout_s=answer_timeout_s,
    )
    engine.run()
    return engine


@pytest.fixture(scope="module")
def one_for_all() -> Iterator[Server]:
    with hostile() as server:
        yield server


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_is_read_as_it_was_sent(name: str, one_for_all: Server) -> None:
    shape = SHAPES[name]
    source = ShapeSource([name], 4)
    engine = flood(one_for_all, source, connections=2, answer_timeout_s=PATIENCE_S if shape.status else 1.0)
    told = one_for_all.told()
    assert engine.counts.totals == {(f"POST /{name}", shape.outcome, shape.status): 4}
    assert told["counts"][f"{name} {shape.status} {shape.outcome}"] == told["received"][name] == 4
    assert told["twice"] == [] and told["facts"].keys() <= {"body bytes"}
    if shape.status:
        assert source.answers == {(name, shape.status, shape.body): 4}
    else:
        assert sum(source.lost_why.values()) == 4


@pytest.mark.parametrize("arrivals", [None, Constant(800.0), Poisson(800.0, 3)], ids=["closed", "constant", "poisson"])
def test_all_shapes_together_are_counted_to_the_last_request(arrivals: Arrivals | None) -> None:
    names = [name for name in SHAPES if not name.startswith("silent")] + ["plain"] * 40
    total = 3000
    with hostile() as server:
        source = ShapeSource(names, total)
        engine = flood(server, source, arrivals, connections=40)
        told = server.told()
    assert sum(engine.counts.totals.values()) == total
    assert dict(engine.counts.totals) == expected(told["counts"])
    assert engine.counts.bytes == told["facts"]["body bytes"]
    assert told["twice"] == []
    assert engine.send_lag.total == (total if arrivals else 0)
    for name, shape in GOOD.items():
        assert source.answers[name, shape.status, shape.body] == sum(
            n for key, n in source.answers.items() if key[0] == name
        )
    assert {name for name, _ in source.lost_why} == set(BAD) - {"silent", "silent_in_body"}


@pytest.mark.parametrize("arrivals", [None, Poisson(3000.0, 4)], ids=["closed", "open"])
def test_the_fast_path_hands_over_whatever_is_not_plain(arrivals: Arrivals | None) -> None:
    total = 5000
    request = encode("POST", "/any/{id}", "x", b"yyyy")
    with hostile() as server:
        source = Template("POST /any", request, total=total)
        engine = flood(server, source, arrivals, connections=20)
        told = server.told()
    assert sum(engine.counts.totals.values()) == total
    assert dict(engine.counts.totals) == expected(told["counts"])
    assert engine.counts.bytes == told["facts"]["body bytes"]
    assert told["twice"] == [] and len(engine.counts.totals) >= 10


def test_bodies_that_no_socket_takes_at_once_are_sent_whole() -> None:
    with hostile() as server:
        source = ShapeSource(["read_slowly"], 8)
        engine = flood(server, source, connections=2)
        told = server.told()
    assert engine.facts["short_sends"] >= 1
    assert engine.counts.totals == {("POST /read_slowly", "ok", 200): 8}
    assert "bodies that were not what was sent" not in told["facts"]


@pytest.mark.parametrize("path", ["/plain/0", "/plain/{id}"])
def test_a_request_is_the_same_each_time_but_for_its_id(path: str) -> None:
    request = encode("POST", path, "x", b"yyyy")
    with hostile() as server:
        engine = flood(server, Template("POST /plain", request, total=400), connections=3)
        told = server.told()
    assert engine.counts.totals == {("POST /plain", "ok", 200): 400} and engine.facts["connects"] == 3
    assert told["twice"] == ([] if "{id}" in path else ["plain/0"])
    assert "requests that are none" not in told["facts"]


def test_each_body_can_be_checked() -> None:
    request = encode("GET", "/plain/{id}", "x")
    with hostile() as server:
        right = Template("GET /plain", request, total=50, valid=lambda status, body: body == BODY)
        assert flood(server, right).counts.totals == {("GET /plain", "ok", 200): 50}
        wrong = Template("GET /plain", request, total=50, first=50, valid=lambda status, body: body != BODY)
        assert flood(server, wrong).counts.totals == {("GET /plain", "failed", 200): 50}
        longer = Template("GET /plain", request, total=50, first=100, length=len(BODY) + 1)
        assert flood(server, longer).counts.totals == {("GET /plain", "failed", 200): 50}


@pytest.mark.parametrize("name", ["more_than_told", "chunked_and_more"])
def test_a_connection_that_said_more_than_it_had_to_is_not_used_again(name: str) -> None:
    with hostile() as server:
        engine = flood(server, ShapeSource([name], 6), connections=1)
    assert engine.counts.totals == {(f"POST /{name}", "ok", 200): 6}
    assert engine.facts["unsolicited"] == 6 and engine.facts["connects"] == 6


def test_an_answer_to_head_has_no_body() -> None:
    with hostile() as server:
        source = ShapeSource(["no_content_with_length", "empty"], 20, method="HEAD")
        engine = flood(server, source, connections=2)
    assert engine.facts["connects"] == 2 and sum(engine.counts.totals.values()) == 20


def test_the_equality_is_seen_red(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the strict parse keeps out would be counted as answers by one that is content with a status."""
    monkeypatch.setattr(heads, "parse", lambda head, bodyless=False: heads.Head(int(head[9:12]), 21, True, None))
    with hostile() as server:
        engine = flood(server, ShapeSource(["two_lengths"], 6), connections=2)
        told = server.told()
    assert dict(engine.counts.totals) != expected(told["counts"])
