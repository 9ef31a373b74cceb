"""The legitimate users' ledger: each request that changes something is one row, also one that was never answered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from locust.env import Environment

from harness.digests import field_digests
from harness.ledger import LedgerRow
from harness.traffic import RequestRow, Traffic
from locustfiles.users.legitimate import LegitimateUser, ledger_outcome, outcome_of
from tests.fake_target import Answer, FakeServer, as_json, serving
from tests.processes import wait_for

INTENTS, CHECK, RETRO = "/api/htm/intents", "/api/governance/check", "/api/meta_loop/retrospective"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving() as fake:
        yield fake


def user_of(
    server: FakeServer, rows: list[dict[str, Any]] | None, routes: tuple[str, ...] | None = None
) -> LegitimateUser:
    options = SimpleNamespace(run_seed=7, run_prefix="run1-", permitted=(), run_routes=routes)
    environment = Environment(parsed_options=options)
    if rows is not None:
        environment.ledger = rows.append
    user: LegitimateUser = type("Here", (LegitimateUser,), {"host": server.base_url})(environment)
    user.on_start()
    return user


def read(rows: list[dict[str, Any]]) -> list[LedgerRow]:
    """As the run will read them: the caller adds the time."""
    return [LedgerRow.from_json(json.dumps({"at_s": 1.0, **row})) for row in rows]


def body_of(server: FakeServer) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(server.seen[-1][3])
    return found


def test_what_was_accepted_is_told_under_the_id_that_was_sent(server: FakeServer) -> None:
    rows: list[dict[str, Any]] = []
    user = user_of(server, rows)
    server.answers = {
        INTENTS: lambda path: as_json({"intent_id": body_of(server)["intent_id"], "status": "created"}),
        RETRO: lambda path: Answer(body=json.dumps({"id": body_of(server)["retro_id"]}).encode(), status=202),
        CHECK: as_json({"decision": "review", "decision_id": "d1"}),
    }
    ids = []
    for task in (user.urgent_intent, user.retrospective):
        task()
        ids.append(body_of(server).get("intent_id") or body_of(server)["retro_id"])
    user.governance_check()
    intent, retro, decision = read(rows)
    assert [intent.id, retro.id] == ids and all(one.id.startswith("run1-user-0-") for one in (intent, retro, decision))
    assert {(one.outcome, one.user, one.valid, one.attempts) for one in (intent, retro, decision)} == {
        ("accepted", "legitimate", True, 1)
    }
    assert (intent.kind, retro.kind, retro.status) == ("intent", "retrospective", 202)
    asked = body_of(server)
    assert decision.question == f"{asked['actor']}|{asked['action']}|{asked['resource']}"
    assert (decision.answer, decision.reference) == ("review", "d1")
    assert len({intent.id, retro.id, decision.id}) == 3


def test_the_digests_are_those_of_the_bytes_that_were_sent(server: FakeServer) -> None:
    rows: list[dict[str, Any]] = []
    told = {"allowed": True, "decision": "allow", "risk_score": 0.2, "decision_id": "d1", "audit_id": "a1"}
    server.answers = {INTENTS: as_json({"audit_id": "a0"}), RETRO: as_json({}), CHECK: as_json(told)}
    server.answers["/api/knowledge"] = as_json({})
    user = user_of(server, rows)
    user.environment.clock_s = lambda: 7.0129
    for task in (user.urgent_intent, user.retrospective, user.governance_check, user.share_knowledge):
        task()
    bodies = [json.loads(data) for _, _, _, data in server.seen]
    for row, (_, _, _, data), body in zip(read(rows), server.seen, bodies, strict=True):
        assert row.digest == hashlib.sha256(data).hexdigest() and row.begun_s == 7.012
        assert row.sent == field_digests(body) and row.lost == 0
    intent, retro, decision, knowledge = read(rows)
    assert intent.proof == hashlib.sha256(json.dumps(bodies[0], sort_keys=True).encode()).hexdigest()
    assert bodies[0]["context"]["nonce"] and bodies[1]["nonce"] and retro.proof and not decision.proof
    assert (intent.actor, intent.action, intent.resource) == (user.me, "create_intent", intent.id)
    assert (retro.actor, retro.action, retro.resource) == ("", "create_retrospective", retro.id)
    assert "|".join((decision.actor, decision.action, decision.resource)) == decision.question
    assert (knowledge.actor, knowledge.action, knowledge.resource) == (user.me, "add_knowledge", knowledge.id)
    assert decision.told == {"allowed": True, "decision": "allow", "risk_score": 0.2}
    assert (intent.reference, decision.reference) == ("a0", "a1")


def test_refusals_and_lost_answers_are_counted(server: FakeServer) -> None:
    rows: list[dict[str, Any]] = []
    user, retry = user_of(server, rows), (("Retry-After", "2"),)
    for answer in (
        Answer(status=429, body=b'{"error": "rate_limited", "audit_id": "a9"}'),
        Answer(status=503, headers=retry, body=b"<html>"),
        Answer(status=504),
        Answer(status=422, body=b'{"error": "invalid_field"}'),
    ):
        server.answers[INTENTS] = answer
        user.urgent_intent()
    found = [(dict(row.refusals), row.lost, row.error, row.reference) for row in read(rows)]
    assert found[0] == ({"rate_limited": 1}, 0, "rate_limited", "a9")
    assert found[1:] == [({"unnamed": 1}, 0, "", ""), ({}, 1, "", ""), ({}, 0, "invalid_field", "")]


def test_knowledge_is_shared_only_where_there_is_a_route(server: FakeServer) -> None:
    rows: list[dict[str, Any]] = []
    server.answers["/api/knowledge"] = lambda path: as_json({"id": body_of(server).get("knowledge_id", "")})
    for routes in (None, ("POST /api/knowledge",)):
        user_of(server, rows, routes).share_knowledge()
    assert [(row.kind, row.outcome) for row in read(rows)] == [("knowledge", "accepted")] * 2
    server.answers["/api/knowledge"] = as_json({})
    user_of(server, rows, ("GET /api/knowledge",)).share_knowledge()
    assert server.seen[-1][0] == "GET" and len(rows) == 2


def test_a_user_asks_equal_questions_again(server: FakeServer) -> None:
    rows: list[dict[str, Any]] = []
    server.answers[CHECK] = as_json({"decision": "allow"})
    user = user_of(server, rows)
    for _ in range(12):
        user.governance_check()
    questions = [row.question for row in read(rows)]
    assert len(set(questions)) < len(questions) == len({row.digest for row in read(rows)})


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Answer(status=503, headers=(("Retry-After", "2"),)), "refused"),
        (Answer(status=429), "refused"),
        (Answer(status=503), "unanswered"),
        (Answer(status=504, body=b"<html>"), "unanswered"),
        (Answer(status=422, body=b'{"rejection_id": "x1"}'), "rejected"),
        (as_json({"intent_id": "of somebody else"}), "unanswered"),
        (as_json([]), "accepted"),
    ],
)
def test_any_other_answer_is_told_as_it_is(server: FakeServer, answer: Answer, outcome: str) -> None:
    rows: list[dict[str, Any]] = []
    server.answers[INTENTS] = answer
    user_of(server, rows).patient_intent()
    (row,) = read(rows)
    assert (row.outcome, row.status) == (outcome, answer.status)
    assert row.misnamed == int(b"of somebody else" in answer.body)
    assert row.reference == ("x1" if answer.status == 422 else "")


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        (b'{"error": "load_shedding", "shedding": ["htm_queue", "cpu"]}', "cpu,htm_queue"),
        (b'{"error": "queue_full"}', ""),
        (b'{"shedding": "cpu"}', ""),
        (b'{"shedding": []}', ""),
    ],
)
def test_why_it_was_deferred_is_told_as_the_target_says_it(server: FakeServer, body: bytes, reasons: str) -> None:
    rows: list[dict[str, Any]] = []
    server.answers[INTENTS] = Answer(body=body, status=503, headers=(("Retry-After", "2"),))
    user_of(server, rows).patient_intent()
    assert read(rows)[0].deferred_for == reasons


def test_a_user_that_is_stopped_in_the_middle_says_that_it_does_not_know(server: FakeServer) -> None:
    rows: list[dict[str, Any]] = []
    server.answers[INTENTS] = Answer(silent=True)
    greenlet = gevent.spawn(user_of(server, rows).urgent_intent)
    wait_for(lambda: (gevent.sleep(0.01), server.seen)[1], 5.0, "the request")
    greenlet.kill()
    (row,) = read(rows)
    assert (row.outcome, row.status, row.id) == ("unanswered", 0, body_of(server)["intent_id"])


def test_without_a_ledger_and_for_what_only_reads_nothing_is_told(server: FakeServer) -> None:
    rows: list[dict[str, Any]] = []
    server.answers = {"/api/knowledge": as_json({}), "/api/chat": as_json({}), INTENTS: as_json({})}
    user = user_of(server, rows)
    user.ask_knowledge()
    user.chat()
    assert rows == []
    user_of(server, None).urgent_intent()
    assert len(server.seen) == 3


def test_the_same_seed_says_the_same(server: FakeServer) -> None:
    server.answers[INTENTS] = as_json({})
    said = []
    for _ in range(2):
        user = user_of(server, None)
        user.random.seed(1)
        user.urgent_intent()
        said.append(body_of(server)["intent_id"].rpartition("-")[2])
    assert said[0] == said[1]


@pytest.mark.parametrize(("status", "retry_after"), [(0, None), (500, "1"), (408, None), (302, None)])
def test_what_decides_nothing(status: int, retry_after: str | None) -> None:
    assert ledger_outcome(status, retry_after) == "unanswered"


def test_an_answer_for_somebody_else_is_a_failure_to_the_client(server: FakeServer) -> None:
    user, told, problems = user_of(server, []), [], []
    user.environment.events.request.add_listener(
        lambda context, **_: told.append((context["outcome"], context["status"]))
    )
    user.environment.events.request.add_listener(lambda exception, **_: problems.append(str(exception or "")))
    for name in (lambda: body_of(server)["intent_id"], lambda: "somebody", lambda: None):
        server.answers[INTENTS] = lambda path, name=name: as_json({"intent_id": name()})
        user.patient_intent()
    assert told == [("ok", 200), ("failed", 200), ("failed", 200)]
    assert problems[0] == "" and "names another request" in problems[1] and problems[1] == problems[2]


def test_an_answer_from_a_store_is_told_apart_and_counts_as_served(server: FakeServer) -> None:
    user = user_of(server, None)
    told: list[dict[str, Any]] = []
    user.environment.events.request.add_listener(lambda context, **_: told.append(dict(context)))
    stored = (("Warning", '110 - "Response is Stale"'), ("Age", "7"))
    for headers in ((), stored, (("Warning", '199 - "something else"'),)):
        server.answers["/api/knowledge"] = Answer(body=b"{}", headers=headers)
        user.ask_knowledge()
    assert [one["outcome"] for one in told] == ["ok", "stale", "ok"]
    assert outcome_of(503, None, False, '110 - "Response is Stale"') == "failed"
    rows = [RequestRow(1.0, "legitimate", "n", outcome, 200, 1, ((5, 1),)) for outcome in ("ok", "stale")]
    assert Traffic.of(rows) == Traffic(2, 0, 0, 0, ((5, 2),))
