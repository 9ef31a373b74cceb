"""Rate limiter, intent validator and queue pressure at the gateway: what they refuse, tell and audit, and so on."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.processes import twin, wait_for
from tests.twin.client import INTENT, Client
from tests.twin.test_twin import pid_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
CALM = "resource_pressure_monitor"
ATTACKER = "127.7.7.7"
CHECK = {"actor": "a", "action": "read", "resource": "r", "payload": {}}
# What is wrong with it → (body, status, error, field)
BAD: dict[str, tuple[Any, int, str, str | None]] = {
    "missing": ({"intent_id": "b1", **{k: v for k, v in INTENT.items() if k != "goal"}}, 422, "invalid_field", "goal"),
    "no id": (INTENT, 422, "invalid_field", "intent_id"),
    "wrong type": ({**INTENT, "intent_id": "b2", "goal": 7}, 422, "invalid_field", "goal"),
    "unknown enum": ({**INTENT, "intent_id": "b3", "domain": "nowhere"}, 422, "invalid_field", "domain"),
    "negative SLA": ({**INTENT, "intent_id": "b4", "sla_ms": -5}, 422, "invalid_field", "sla_ms"),
    "oversized": ({**INTENT, "intent_id": "b5", "context": {"x": "A" * 17_000}}, 413, "body_too_large", None),
    "broken": (b'{"intent_id": "b6", "goal', 400, "invalid_json", None),
    "not a number": (b'{"intent_id": "b7", "sla_ms": NaN}', 400, "invalid_json", None),
    "no object": (b"[1]", 400, "invalid_json", None),
    "duplicate": ({**INTENT, "intent_id": "known", "goal": "another"}, 409, "duplicate_intent", None),
}


@contextmanager
def running(folder: Path, off: str = "", plant: str = "") -> Iterator[Client]:
    with twin(folder, off=",".join(word for word in (CALM, off) if word), plant=plant):
        client = Client(folder)
        yield client
        client.close()


def closed(client: Client, safeguard: str) -> dict[str, Any]:
    found = [one["payload"] for one in client.events("event.incident.closed")]
    return next(one for one in found if one["trigger_id"] == safeguard)


@pytest.mark.beside
def test_each_way_to_be_no_intent_is_refused_with_an_id_that_stands_in_the_log_once(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        assert client.submit("known")[0] == 200
        references = {}
        for flaw, (body, status, error, field) in BAD.items():
            got, content, _ = client.ask("POST", "/api/htm/intents", body)
            assert (got, content["error"], content.get("field")) == (status, error, field), flaw
            references[content["rejection_id"]] = flaw
        assert len(references) == len(BAD)
        status, again, _ = client.submit("known")
        assert (status, again.pop("audit_id", "") != "", again) == (
            200,
            True,
            {"intent_id": "known", "status": "created"},
        )
        wait_for(lambda: len(client.audit()) == len(BAD) + 2, 5, "an audit entry for each")
        rows = [row for row in client.audit() if row["result"] == "rejected"]
        assert {row["reference"] for row in rows} == set(references)
        assert {(row["subsystem"], row["action"]) for row in rows} == {("htm", "reject_intent")}
        read = {"missing", "no id", "wrong type", "unknown enum", "negative SLA", "duplicate"}
        actors = {references[row["reference"]]: row["actor"] for row in rows}
        assert actors == {flaw: "c" if flaw in read else "127.0.0.1" for flaw in BAD}
        assert client.get("/api/immutable-log/verify")["valid"]
        wait_for(lambda: client.finished() == {("completed", 1): 1}, 5, "only the valid one")


@pytest.mark.beside
def test_who_keeps_sending_what_is_none_is_named_and_let_go(tmp_path: Path) -> None:
    name = "intent_validator"
    with running(tmp_path) as client:
        attacker = Client(tmp_path, ATTACKER)
        for n in range(9):
            assert attacker.submit(f"x{n}", sla_ms=-1)[0] == 422
        assert client.submit("mine", sla_ms=-1)[0] == 422, "another client's is not counted with it"
        assert client.engaged(name) == []
        assert attacker.submit("x9", sla_ms=-1)[0] == 422
        last_s = time.monotonic()
        wait_for(lambda: client.engaged(name) == [ATTACKER], 2, "the engagement")
        wait_for(lambda: client.engaged(name) == [], 10, "the release")
        assert time.monotonic() - last_s >= 4.9
        (incident,) = client.incidents()
        assert (incident["subject"], incident["playbook"]) == (ATTACKER, "")
        assert "10 invalid intents within 5 s" in incident["reason"] and closed(client, name)["details"]["count"] == 10
        attacker.close()


@pytest.mark.beside
def test_without_the_validator_what_is_no_intent_is_carried_out_and_nothing_breaks(tmp_path: Path) -> None:
    with running(tmp_path, off="intent_validator") as client:
        assert client.submit("known")[0] == 200
        wait_for(lambda: client.intents()["known"]["status"] == "completed", 5)
        taken = [flaw for flaw, (body, *_) in BAD.items() if client.ask("POST", "/api/htm/intents", body)[0] == 200]
        assert set(BAD) - set(taken) == {"broken", "not a number", "no object"}, "only what is no JSON object"
        odd = [{"intent_id": ["x"], "priority": {}}, {}, {"intent_id": "\ud800", "sla_ms": 10**400, "goal": "\udfff"}]
        assert [client.ask("POST", "/api/htm/intents", body)[0] for body in odd] == [200] * len(odd)
        expected = 1 + len(taken) - 1 + len(odd)  # the duplicate is carried out under the name of the first
        wait_for(
            lambda: sum(count for (word, _), count in client.finished().items() if word == "completed") == expected, 5
        )
        assert client.intents()["known"]["executions"] == 2
        entries = 1 + len(BAD) + len(odd)
        wait_for(lambda: len(client.audit()) == entries, 5, "an entry of each, whatever it is")
        assert [row["result"] for row in client.audit()].count("rejected") == 3 and client.incidents() == []
        kernels = client.get("/api/control-plane/kernels")["kernels"]
        assert {(one["state"], one["restarts"]) for one in kernels} == {("running", 0)}


def post_many(client: Client, count: int) -> Counter[tuple[int, str]]:
    """(status, Retry-After) of as many decisions as fast as one client can."""
    found: Counter[tuple[int, str]] = Counter()
    for _ in range(count):
        status, _, retry_after = client.ask("POST", "/api/governance/check", CHECK)
        found[(status, retry_after)] += 1
    return found


def test_a_client_beyond_its_rate_is_told_when_to_come_again_and_no_other_feels_it(tmp_path: Path) -> None:
    name = "rate_limiter"
    with running(tmp_path) as client:
        attacker, flooded = Client(tmp_path, ATTACKER), Counter[int]()
        began_s = time.monotonic()
        while not client.engaged(name):
            for _ in range(50):
                status, content, retry_after = attacker.ask("POST", "/api/nothing", {})
                assert (retry_after, content["error"]) == (
                    ("1", "rate_limited") if status == 429 else ("", "not_found")
                )
                flooded[status] += 1
            assert time.monotonic() - began_s < 20, flooded
        took_s = time.monotonic() - began_s
        assert client.engaged(name) == [ATTACKER] and flooded[429] >= 20
        assert 400 <= flooded[404] <= 400 + 200 * took_s + 1
        assert post_many(client, 50) == {(200, ""): 50}
        assert attacker.ask("GET", "/api/htm/queue")[0] == 200, "only what changes something is limited"
        last_s = time.monotonic()
        wait_for(lambda: client.engaged(name) == [], 10, "the release")
        assert time.monotonic() - last_s >= 4.4
        assert closed(client, name)["details"]["count"] >= 20
        attacker.close()


@pytest.mark.beside
def test_without_the_limiter_nobody_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, off="rate_limiter") as client:
        assert sum(post_many(client, 1500).values()) == 1500
        assert post_many(client, 500) == {(200, ""): 500} and client.incidents() == []


@pytest.mark.beside
def test_an_incident_outlives_the_gateway_and_is_still_released(tmp_path: Path) -> None:
    with running(tmp_path) as client:
        for n in range(10):
            assert client.submit(f"x{n}", sla_ms=-1)[0] == 422
        wait_for(lambda: client.engaged("intent_validator") == ["127.0.0.1"], 2)
        old = pid_of(tmp_path, "api_server")
        os.kill(old, signal.SIGKILL)
        wait_for(lambda: pid_of(tmp_path, "api_server") != old, 10)
        again = Client(tmp_path)
        wait_for(lambda: _engaged(again) == [], 15, "the release by the new process")
        wait_for(lambda: len(again.audit()) == 10, 5, "and its audit entries")
        again.close()


def _engaged(client: Client) -> list[str] | None:
    try:
        return client.engaged("intent_validator")
    except OSError:
        client.close()
        return None


def test_a_deep_queue_defers_what_may_wait_until_it_is_low_again(tmp_path: Path) -> None:
    name = "queue_pressure_monitor"
    with running(tmp_path, off="rate_limiter") as client:
        assert submit_many(tmp_path, 800) == {200: 800}
        wait_for(lambda: client.engaged(name) == ["htm_queue"], 2, "the engagement")
        status, content, retry_after = wait_for(lambda: _deferred(client), 2, "the deferral")
        assert (status, content["error"], content["shedding"], retry_after) == (
            503,
            "load_shedding",
            ["htm_queue"],
            "2",
        )
        assert client.submit("urgent", priority=5)[0] == 200, "what is urgent is still taken"
        body = {"subject": "s", "events": []}
        assert client.ask("POST", "/api/meta_loop/retrospective", body)[0] == 202, "this goes elsewhere"
        assert client.submit("bad", priority=1, sla_ms=-1)[0] == 422, "what is no intent is refused for good"
        wait_for(lambda: client.get("/api/htm/queue")["depth"] <= 100, 20, "a low queue")
        wait_for(lambda: client.engaged(name) == [], 10, "the release")
        assert client.submit("late", priority=1)[0] == 200, "the undo ended the deferral"
        finished = [one["payload"] for one in client.events("playbook.finished")]
        (done,) = [one for one in finished if one["playbook"] == "queue_backpressure"]
        assert (done["outcome"], done["subject"]) == ("succeeded", "htm_queue")


Answer = tuple[int, dict[str, Any], str]


def answers_to_many(folder: Path, count: int, hands: int = 8, **more: Any) -> list[Answer]:
    """Sent by so many clients at once: one alone would hardly be quicker than the workers."""

    def send(hand: int) -> list[Answer]:
        client = Client(folder)
        found = [client.submit(f"i{n}", **more) for n in range(hand, count, hands)]
        client.close()
        return found

    with ThreadPoolExecutor(hands) as pool:
        return [answer for found in pool.map(send, range(hands)) for answer in found]


def submit_many(folder: Path, count: int) -> Counter[int]:
    """The statuses."""
    return Counter(status for status, _, _ in answers_to_many(folder, count))


def _deferred(client: Client) -> tuple[int, dict[str, Any], str] | None:
    answer = client.submit("low", priority=3)
    return answer if answer[0] == 503 else None


@pytest.mark.beside
def test_without_the_monitor_a_deep_queue_defers_nothing_and_its_bound_still_holds(tmp_path: Path) -> None:
    with running(tmp_path, off="rate_limiter,queue_pressure_monitor,worker_watchdog") as client:
        for name in ("htm_worker_1", "htm_worker_2"):
            os.kill(pid_of(tmp_path, name), signal.SIGSTOP)
        found = answers_to_many(tmp_path, 2050, priority=0)
        answers = Counter((status, content.get("error", ""), retry_after) for status, content, retry_after in found)
        assert answers[(503, "queue_full", "2")] in range(45, 51), "one or two are with the stopped workers"
        assert answers.total() == answers[(200, "", "")] + answers[(503, "queue_full", "2")]
        assert client.submit("i0", priority=0)[0] == 200, "what it has, it has"
        assert client.incidents() == []


def test_a_stopped_log_holds_up_no_rejection_and_a_stopped_queue_only_what_needs_it(tmp_path: Path) -> None:
    with running(tmp_path, off="kernel_watchdog") as client:
        log, queue = pid_of(tmp_path, "immutable_log"), pid_of(tmp_path, "scheduler")
        os.kill(log, signal.SIGSTOP)
        os.kill(queue, signal.SIGSTOP)
        began_s = time.monotonic()
        assert [client.submit(f"x{n}", sla_ms=-1)[0] for n in range(5)] == [422] * 5
        assert client.ask("POST", "/api/governance/check", CHECK)[0] == 200
        assert time.monotonic() - began_s < 1.5
        assert client.submit("i")[:2] == (504, {"error": "kernel_timeout", "kernel": "scheduler"})
        os.kill(log, signal.SIGCONT)
        os.kill(queue, signal.SIGCONT)
        wait_for(lambda: len(client.audit()) == 6, 10, "what waited for the log")
        wait_for(lambda: client.submit("i")[0] == 200, 5)
        wait_for(lambda: client.finished() == {("completed", 1): 1}, 5)
