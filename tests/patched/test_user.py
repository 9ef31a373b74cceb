"""FloodUser and GreenUser in this process: what they put into Locust's numbers and hand to the harness."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import gevent
import pytest
from gevent.pool import Group
from locust import task
from locust.env import Environment
from locust.exception import StopUser
from locust.stats import RequestStats

from locustfiles import flood
from locustfiles.engine.counts import Counts
from locustfiles.engine.green import Answer, Pool
from locustfiles.engine.sources import Template, encode
from locustfiles.flood import FloodUser, GreenUser, add
from tests.flood.hostile import BAD, BODY, SHAPES
from tests.flood.shapes import Server, ShapeSource, expected, hostile, until

NOW_S = 1_700_000_000.0


def field_by_field(stats: RequestStats) -> dict[str, Any]:
    rows = {}
    for one in [*stats.entries.values(), stats.total]:
        told = one.serialize()
        told.pop("start_time"), told.pop("last_request_timestamp")
        told["total_response_time"] = round(told["total_response_time"])
        rows[f"{one.method} {one.name}"] = told
    errors = {(one.method, one.name, one.error): one.occurrences for one in stats.errors.values()}
    return {"rows": rows, "errors": errors}


def filled(monkeypatch: pytest.MonkeyPatch, flushes: int) -> tuple[RequestStats, RequestStats]:
    """The same requests, once through Locust's own log_request and log_error, once as the engine's counts."""
    monkeypatch.setattr("time.time", lambda: NOW_S)
    chance = random.Random(1)
    plain, ours, counts = RequestStats(), RequestStats(), Counts()
    for number in range(4000):
        path, status = chance.choice(["/a", "/b"]), chance.choice([200, 200, 429, 500])
        latency_ms = chance.choice([0, 1, 7, 99, 140, 1234, 9000, 12_345])
        plain.log_request("POST", path, latency_ms, 10)
        if status == 500:
            plain.log_error("POST", path, "status 500")
        outcome = {200: "ok", 429: "limited", 500: "failed"}[status]
        counts.add(f"POST {path}", outcome, status, latency_ms * 1_000_000, 10)
        if number % (4000 // flushes) == 0:
            add(ours, counts.flush(), NOW_S)
    add(ours, counts.flush(), NOW_S)
    return plain, ours


def test_locust_holds_what_it_would_have_counted_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, ours = filled(monkeypatch, 7)
    assert field_by_field(ours) == field_by_field(plain)
    assert ours.total.get_response_time_percentile(0.95) == plain.total.get_response_time_percentile(0.95)


def test_a_count_made_twice_is_seen_red(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, ours = filled(monkeypatch, 7)
    ours.log_request("POST", "/a", 1, 10)
    assert field_by_field(ours) != field_by_field(plain)


@contextlib.contextmanager
def environment_for(server: Server) -> Iterator[tuple[Environment, list[Any], Group]]:
    told: list[Any] = []
    environment = Environment(host=f"http://127.0.0.1:{server.port}")
    environment.counts = lambda user_name, rows: told.append((user_name, rows))
    group = Group()
    try:
        yield environment, told, group
    finally:
        group.kill()


def rows_of(told: list[Any]) -> Counter[tuple[str, str, str, int]]:
    found: Counter[tuple[str, str, str, int]] = Counter()
    for user_name, rows in told:
        for name, outcome, status, latencies in rows:
            found[user_name, name, outcome, status] += sum(latencies.values())
    return found


def test_the_harness_gets_the_same_rows_when_it_asks() -> None:
    names = ["plain", "limited", "shed", "closed", "not_found"]

    class Five(FloodUser):
        user_name = "five"
        connections = 5

        def source(self) -> ShapeSource:
            return ShapeSource(names, 200)

    with hostile() as server, environment_for(server) as (environment, told, _):
        Five.host = environment.host
        user = Five(environment)
        with pytest.raises(StopUser):
            user.flood()
        true = expected(server.told()["counts"])
    assert rows_of(told) == {("five", *key): count for key, count in true.items()}
    assert environment.stats.total.num_requests == 200
    assert environment.stats.total.num_failures == 80
    assert {one.error: one.occurrences for one in environment.stats.errors.values()} == {"closed": 40, "status 404": 40}


def test_what_breaks_off_is_told_and_not_begun_again() -> None:
    class Broken(FloodUser):
        host = "http://127.0.0.1:1"

        def source(self) -> Template:
            raise ValueError("no such body")

    environment, told = Environment(), []
    environment.events.user_error.add_listener(lambda exception, **_: told.append(str(exception)))
    with pytest.raises(StopUser) as stop:
        Broken(environment).flood()
    assert told == ["no such body"] and isinstance(stop.value.__cause__, ValueError)
    with pytest.raises(ValueError, match="needs --host"):
        flood.address_of("https://x")


# A user a greenlet


def green(names: list[str], times: int, **words: Any) -> type[GreenUser]:
    class Green(GreenUser):
        user_name = "green"
        answers: list[tuple[str, Answer]] = []

        @task
        def all_of_them(self) -> None:
            for _ in range(times):
                for name in names:
                    answer = self.client.request("POST", f"/{name}/0", b"yyyy", name=f"/{name}")
                    self.answers.append((name, answer))
            raise StopUser

    for name, value in words.items():
        setattr(Green, name, value)
    return Green


def start(kind: type[GreenUser], environment: Environment, group: Group, users: int) -> None:
    kind.host = environment.host
    for _ in range(users):
        kind(environment).start(group)


def test_each_user_gets_its_own_answer_in_every_shape() -> None:
    names = [name for name in SHAPES if not name.startswith("silent") and SHAPES[name].reads]
    kind = green(names, 1)
    with hostile() as server, environment_for(server) as (environment, told, group):
        start(kind, environment, group, 4)
        group.join(timeout=60)
        heard = server.told()
        assert not environment.flood_pools.of
    assert rows_of(told) == {("green", *key): count for key, count in expected(heard["counts"]).items()}
    assert environment.stats.total.num_requests == len(names) * 4 == len(kind.answers)
    for name, answer in kind.answers:
        assert (answer.status, len(answer.body)) == (SHAPES[name].status, SHAPES[name].body)
        assert bool(answer.why) == (name in BAD)


def test_a_user_that_is_killed_while_it_waits_leaves_the_others_alone() -> None:
    kind = green(["plain"], 200, answer_timeout_s=60.0)
    stuck = green(["silent"], 1)
    with hostile() as server, environment_for(server) as (environment, _, group):
        start(kind, environment, group, 3)
        start(stuck, environment, group, 2)
        until(lambda: server.told()["received"].get("silent") == 2)
        for greenlet in list(group):
            if isinstance(greenlet.args[0], stuck):
                greenlet.kill(timeout=5)
        group.join(timeout=60)
        assert len(group) == 0 and not environment.flood_pools.of
    assert len(kind.answers) == 600 == environment.stats.entries["/plain", "POST"].num_requests
    assert not stuck.answers


def test_one_that_waits_too_long_is_told_so() -> None:
    kind = green(["silent", "plain"], 1, answer_timeout_s=0.3)
    with hostile() as server, environment_for(server) as (environment, _, group):
        start(kind, environment, group, 1)
        group.join(timeout=30)
    assert [(answer.status, answer.why) for _, answer in kind.answers] == [(0, "timed out"), (200, "")]


def test_an_answer_that_comes_too_late_for_its_user_wakes_nobody() -> None:
    with hostile() as server:
        pool = Pool(("127.0.0.1", server.port))
        pool.join()
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.02):
            pool.send("GET /late", encode("GET", "/late/0", "x"))
        began = perf_counter()
        gevent.sleep(1.0)
        assert perf_counter() - began >= 0.99
        assert pool.send("GET /plain", encode("GET", "/plain/1", "x")).status == 200
        pool.leave()
    assert pool.counts.totals == {("GET /late", "ok", 200): 1, ("GET /plain", "ok", 200): 1}


def test_what_nobody_waits_for_any_more_is_not_sent() -> None:
    with hostile() as server:
        pool = Pool(("127.0.0.1", server.port), answer_timeout_s=0.5)
        pool.join()
        first = gevent.spawn(pool.send, "GET /silent", encode("GET", "/silent/0", "x"))
        until(lambda: server.told()["received"] == {"silent": 1})
        second = gevent.spawn(pool.send, "GET /plain", encode("GET", "/plain/1", "x"))
        gevent.idle()
        second.kill()
        assert first.get(timeout=30).why == "timed out"
        assert pool.send("GET /plain", encode("GET", "/plain/2", "x")).status == 200
        assert server.told()["received"] == {"silent": 1, "plain": 1}
        pool.leave()


def test_a_judge_that_fails_is_its_users_own_error() -> None:
    def judge(answer: Answer) -> str:
        raise LookupError(answer.status)

    with hostile() as server:
        pool = Pool(("127.0.0.1", server.port))
        pool.join()
        with pytest.raises(LookupError):
            pool.send("GET /plain", encode("GET", "/plain/0", "x"), judge)
        assert pool.send("GET /plain", encode("GET", "/plain/1", "x")).body == BODY
        assert pool.leave()
    assert pool.counts.totals == {("GET /plain", "failed", 200): 1, ("GET /plain", "ok", 200): 1}
