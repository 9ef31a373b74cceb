"""How connections end: closed while idle, refused, never made, timed out; and how a flood ends."""

from __future__ import annotations

import socket
from pathlib import Path
from time import perf_counter
from typing import Any

import gevent
import pytest

from harness.hosts import HostRefused
from locustfiles.engine.arrivals import Constant
from locustfiles.engine.exchange import Exchange
from locustfiles.engine.loop import Engine
from locustfiles.engine.sources import Source, Template, encode
from tests.flood.shapes import ShapeSource, expected, hostile, later, until


class Repeatable(ShapeSource):
    safe_to_repeat = True


def engine_for(port: int, source: Source, **words: object) -> Engine:
    return Engine(("127.0.0.1", port), source, **{"connections": 4, "answer_timeout_s": 60.0, **words})  # type: ignore[arg-type]


def get(path: str, total: int | None = None) -> Template:
    return Template(f"GET {path}", encode("GET", path + "/{id}", "x"), total=total)


@pytest.mark.parametrize("kind", ["GET", "POST with an id", "Template"])
def test_a_request_that_met_a_closing_connection_is_sent_again_and_counted_apart(kind: str) -> None:
    source: Source = ShapeSource(["racing"], 60, method="GET") if kind == "GET" else Repeatable(["racing"], 60)
    source = get("/racing", 60) if kind == "Template" else source
    with hostile() as server:
        engine = engine_for(server.port, source)
        engine.run()
        told = server.told()
    method = "POST" if kind.startswith("POST") else "GET"
    assert engine.counts.totals == {(f"{method} /racing", "ok", 200): 60} == expected(told["counts"], method)
    assert engine.facts["retried"] >= 20 and told["received"] == {"racing": 60}


def test_what_the_fast_path_had_sent_is_sent_again_as_it_was() -> None:
    with hostile() as server:
        engine = engine_for(server.port, get("/racing_later", 200))
        engine.run()
        told = server.told()
    assert engine.counts.totals == {("GET /racing_later", "ok", 200): 200}
    assert engine.facts["retried"] >= 20
    assert told["received"] == {"racing_later": 200} and told["twice"] == []


def test_an_answer_that_was_cut_is_not_asked_for_again() -> None:
    source = Repeatable(["plain"], 4)
    source.left = [("cut_head", 3), ("plain", 2), ("cut_body", 1), ("plain", 0)]
    with hostile() as server:
        engine = engine_for(server.port, source, connections=1)
        engine.run()
        told = server.told()
    assert engine.facts["retried"] == 0 and told["twice"] == []
    assert source.lost_why == {("cut_body", "cut"): 1, ("cut_head", "cut"): 1}


def test_one_that_must_not_be_sent_twice_is_lost_instead() -> None:
    with hostile() as server:
        engine = engine_for(server.port, ShapeSource(["racing"], 60))
        engine.run()
        told = server.told()
    totals = engine.counts.totals
    assert engine.facts["retried"] == 0 and sum(totals.values()) == 60
    assert totals["POST /racing", "ok", 200] == told["counts"]["racing 200 ok"] < 60
    assert {why for _, why in engine.counts.errors} <= {"closed", "reset"}


def test_that_it_is_not_sent_twice_is_seen_red(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exchange, "may_repeat", lambda *_: True)
    with hostile() as server:
        engine = engine_for(server.port, ShapeSource(["racing"], 60))
        engine.run()
    assert engine.facts["retried"] > 0


def test_it_is_sent_again_once_and_not_for_ever() -> None:
    """`closed` reads the request and closes: on a used connection that looks like a race, on a new one it is none."""
    source = Repeatable(["plain"], 4)
    source.left = [("closed", 3), ("plain", 2), ("closed", 1), ("plain", 0)]
    with hostile() as server:
        engine = engine_for(server.port, source, connections=1)
        engine.run()
        told = server.told()
    assert told["received"] == {"plain": 2, "closed": 4} and told["twice"] == ["closed/1", "closed/3"]
    assert engine.facts["retried"] == 2
    assert engine.counts.totals == {("POST /plain", "ok", 200): 2, ("POST /closed", "failed", 0): 2}


def test_connections_that_are_closed_while_idle_cost_no_request() -> None:
    with hostile("0.005") as server:
        engine = engine_for(server.port, get("/plain", 60), connections=8, arrivals=Constant(40))
        engine.run()
        told = server.told()
    assert engine.counts.totals == {("GET /plain", "ok", 200): 60} == expected(told["counts"], "GET")
    assert engine.facts["connects"] > 8  # they were closed, and opened again when they were needed


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    engine = engine_for(port, get("/plain"), connections=1)
    later(1.0, engine.stop)
    engine.run()
    lost = engine.counts.totals["GET /plain", "failed", 0]
    assert 3 <= lost == engine.facts["connects"] <= 9  # each wait is longer than the one before
    assert engine.counts.errors == {("GET /plain", "refused"): lost}


def test_a_connection_that_is_never_made_times_out() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        source = ShapeSource(["plain"], 2)
        engine = engine_for(port, source, connections=2, connect_timeout_s=0.3)
        began = perf_counter()
        engine.run()
        for one in waiting:
            one.close()
    assert source.lost_why == {("plain", "connect timed out"): 2} and perf_counter() - began < 5


def test_connections_that_are_over_are_closed_meanwhile() -> None:
    class Looking(ShapeSource):
        most = 0

        def answered(self, *words: Any) -> str:
            self.most = max(self.most, len(list(Path("/proc/self/fd").iterdir())))
            return super().answered(*words)

    source = Looking(["close_told"], 300)
    with hostile() as server:
        before = len(list(Path("/proc/self/fd").iterdir()))
        engine = engine_for(server.port, source, connections=3)
        engine.run()
    assert engine.facts["connects"] >= 300 and source.most < before + 50


def test_several_own_addresses_are_bound_in_turn() -> None:
    with hostile() as server:
        engine = engine_for(
            server.port, get("/plain", 200), connections=6, source_addresses=("127.0.0.3", "127.0.0.4", "127.0.0.5")
        )
        engine.run()
        peers = server.told()["peers"]
    assert peers == {"127.0.0.3": 2, "127.0.0.4": 2, "127.0.0.5": 2}


def test_no_traffic_leaves_this_machine() -> None:
    with pytest.raises(HostRefused):
        Engine(("192.0.2.1", 80), get("/"), connections=1)


def test_a_stop_lets_answers_come_and_then_gives_up() -> None:
    source = ShapeSource(["silent"], 50)
    with hostile() as server:
        engine = engine_for(server.port, source, connections=5, drain_s=0.3)
        later(0.3, engine.stop)
        began = perf_counter()
        engine.run()
    assert perf_counter() - began < 5
    assert engine.stopped and engine.facts["abandoned"] == 5 and not engine.counts.totals
    assert source.lost_why == {("silent", "stopped"): 5}

    with hostile() as server:
        engine = engine_for(server.port, get("/plain"))
        later(0.5, engine.stop)
        engine.run()
        told = server.told()
    assert engine.facts["abandoned"] == 0
    assert dict(engine.counts.totals) == expected(told["counts"], "GET")


def test_a_kill_ends_it_at_once_with_everything_counted() -> None:
    told: list[int] = []
    with hostile() as server:
        engine = engine_for(server.port, get("/plain"), sink=lambda batches: told.extend(one.count for one in batches))
        greenlet = gevent.spawn(engine.run)
        until(lambda: server.told()["counts"].get("plain 200 ok", 0) > 100)
        began = perf_counter()
        greenlet.kill()
        assert perf_counter() - began < 0.5
        counts = server.told()["counts"]
    answered = engine.counts.totals["GET /plain", "ok", 200]
    assert answered == sum(told) > 0
    assert answered <= counts["plain 200 ok"] <= answered + engine.facts["abandoned"]


def test_others_get_their_turn() -> None:
    turns = []

    def other() -> None:
        while True:
            gevent.sleep(0.001)
            turns.append(perf_counter())

    with hostile() as server:
        engine = engine_for(server.port, get("/plain"), connections=50)
        waiting = gevent.spawn(other)
        later(1.0, engine.stop)
        engine.run()
        waiting.kill()
    assert len(turns) > 100
