"""Each request that changes state has one entry in the immutable log, and what is held proves its execution."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.processes import wait_for
from tests.twin.client import INTENT, Client
from tests.twin.test_gateway_guards import CHECK, running

pytestmark = [pytest.mark.slow, pytest.mark.beside, pytest.mark.timeout(120)]
INTENTS, RETRO, KNOWLEDGE = "/api/htm/intents", "/api/meta_loop/retrospective", "/api/knowledge"
DECISION = "/api/governance/check"
ME = "127.0.0.1"
PIECE = {"content": "A queue has an end.", "source": "ann", "confidence": 0.5, "tags": ["queue"]}
TOLD = ("allowed", "approved", "requires_approval", "decision", "risk_score", "reason")
# (route, body, status) → (actor, action, resource, result, reason)
CASES: list[tuple[str, Any, int, tuple[str, str, str, str, str]]] = [
    (INTENTS, {**INTENT, "intent_id": "i1"}, 200, ("c", "create_intent", "i1", "accepted", "")),
    (INTENTS, {**INTENT, "intent_id": "i1"}, 200, ("c", "create_intent", "i1", "accepted", "")),
    (
        INTENTS,
        {**INTENT, "intent_id": "i1", "goal": "x"},
        409,
        ("c", "reject_intent", "i1", "rejected", "duplicate_intent"),
    ),
    (
        INTENTS,
        {**INTENT, "intent_id": "i2", "sla_ms": -1},
        422,
        ("c", "reject_intent", "i2", "rejected", "invalid_field"),
    ),
    (INTENTS, b"x" * 3_000_000, 413, (ME, "reject_intent", "", "rejected", "body_too_large")),
    (INTENTS, {"created_by": "\ud800", "intent_id": 7}, 422, (ME, "reject_intent", "", "rejected", "invalid_field")),
    (RETRO, {"subject": "s", "retro_id": "r1"}, 202, (ME, "create_retrospective", "r1", "accepted", "")),
    (
        RETRO,
        {"subject": "s", "retro_id": "r2", "actor": "bo"},
        202,
        ("bo", "create_retrospective", "r2", "accepted", ""),
    ),
    (RETRO, {"retro_id": "r3"}, 422, (ME, "reject_retrospective", "r3", "rejected", "invalid_field")),
    (RETRO, b"{", 400, (ME, "reject_retrospective", "", "rejected", "invalid_json")),
    (KNOWLEDGE, {**PIECE, "knowledge_id": "k1"}, 200, ("ann", "add_knowledge", "k1", "accepted", "")),
    (KNOWLEDGE, {**PIECE, "knowledge_id": "k1"}, 200, ("ann", "add_knowledge", "k1", "accepted", "")),
    (
        *(KNOWLEDGE, {**PIECE, "knowledge_id": "k1", "tags": []}, 409),
        ("ann", "reject_knowledge", "k1", "rejected", "duplicate_knowledge"),
    ),
    (KNOWLEDGE, {"source": "ann"}, 422, ("ann", "reject_knowledge", "", "rejected", "invalid_field")),
    (DECISION, CHECK, 200, ("a", "read", "r", "allow", "risk 0.1")),
    (DECISION, {**CHECK, "actor": ""}, 422, (ME, "reject_decision", "r", "rejected", "invalid_field")),
    (DECISION, b"[]", 400, (ME, "reject_decision", "", "rejected", "invalid_json")),
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with running(tmp_path_factory.mktemp("trail")) as one:
        yield one


def by_reference(client: Client, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """The entries of *wanted*, once all of them are in the log."""

    def found() -> dict[str, dict[str, Any]]:
        return {row["reference"]: row for row in client.audit()}

    wait_for(lambda: wanted <= set(found()), 5, "the entries")
    return found()


def test_each_request_has_one_entry_that_says_what_was_asked(client: Client) -> None:
    before = len(client.audit())
    answers = [client.ask("POST", path, body) for path, body, _, _ in CASES]
    assert [status for status, _, _ in answers] == [status for _, _, status, _ in CASES]
    references = [content["audit_id"] for _, content, _ in answers]
    entries = by_reference(client, set(references))
    assert len(client.audit()) - before == len(set(references)) == len(CASES)
    for (path, body, _, expected), (_, content, _) in zip(CASES, answers, strict=True):
        entry = entries[content["audit_id"]]
        payload = json.loads(entry["payload"])
        actor, action, resource, result, reason = expected
        assert (entry["actor"], entry["action"], entry["resource"], entry["result"]) == (
            actor,
            action,
            resource,
            result,
        )
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        assert payload["digest"] == hashlib.sha256(data).hexdigest() and payload["client"] == ME
        assert payload["reason"].startswith(reason) and bool(payload["reason"]) == bool(reason)
        if action == "reject_intent":
            assert content["rejection_id"] == content["audit_id"]
        if path == DECISION and result == "allow":
            assert payload["told"] == {name: content[name] for name in TOLD}
            assert content["decision_id"] == content["audit_id"] and payload["reason"] == content["reason"]
    assert client.get("/api/immutable-log/verify")["valid"]


def test_entries_of_one_kernel_are_in_the_order_of_answers(client: Client) -> None:
    references = [client.submit(f"order{n}", sla_ms=(-1) ** n)[1]["audit_id"] for n in range(60)]
    entries = by_reference(client, set(references))
    numbers = [entries[reference]["sequence"] for reference in references]
    assert numbers == sorted(numbers)


def test_requests_that_change_no_state_have_no_entry(client: Client) -> None:
    before = len(client.audit())
    for path, body in (("/api/chat", {"message": "hello", "user": "u"}), ("/api/sandbox", {"expression": "1"})):
        assert client.ask("POST", path, body)[0] == 200
    marker = client.submit("marker")[1]["audit_id"]
    entries = by_reference(client, {marker})
    assert len(entries) == before + 1


def test_each_refusal_of_the_rate_limiter_has_an_entry(
    client: Client, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = next(Path(tmp_path_factory.getbasetemp()).glob("trail*"))
    paths = {INTENTS: "intent", RETRO: "retrospective", KNOWLEDGE: "knowledge", DECISION: "decision"}

    def ask(thread: int) -> dict[str, tuple[str, bytes]]:
        greedy, found = Client(folder, "127.9.9.9"), {}
        for n in range(200):
            path, data = list(paths)[n % 4], json.dumps({"n": n, "thread": thread}).encode()
            status, content, again = greedy.ask("POST", path, data)
            if status == 429:
                assert again
                found[content["audit_id"]] = (paths[path], data)
        greedy.close()
        return found

    with ThreadPoolExecutor(16) as pool:
        refused = {reference: one for found in pool.map(ask, range(16)) for reference, one in found.items()}
    assert len(refused) > 100
    entries = by_reference(client, set(refused))
    for reference, (kind, data) in refused.items():
        entry, payload = entries[reference], json.loads(entries[reference]["payload"])
        found = (entry["actor"], entry["action"], entry["resource"], entry["result"], payload["reason"])
        assert found == ("127.9.9.9", f"refuse_{kind}", "", "refused", "rate_limited")
        assert payload == {"digest": hashlib.sha256(data).hexdigest(), "client": "127.9.9.9", "reason": "rate_limited"}


def test_intent_is_held_as_sent_with_proof_of_execution(client: Client) -> None:
    body = {**INTENT, "intent_id": "proven", "context": {"nonce": "n-1"}}
    assert client.ask("POST", INTENTS, body)[0] == 200
    wait_for(lambda: client.intents()["proven"]["status"] == "completed", 5, "the intent")
    row = client.intents()["proven"]
    assert row["intent"] == body
    assert row["result"] == hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def test_retrospective_is_held_as_sent_with_proof_of_execution(client: Client) -> None:
    events = ["b", "a", "b", "a", "c"]
    body = {"subject": "s", "retro_id": "proven", "events": events, "nonce": "n-2"}
    assert client.ask("POST", RETRO, body)[0] == 202

    def held() -> dict[str, Any]:
        rows = client.rows("/api/meta_loop/retrospectives", "retrospectives")
        return next(row for row in rows if row["id"] == "proven")

    wait_for(lambda: held()["status"] == "completed", 5, "the retrospective")
    row = held()
    findings = [{"event": event, "count": 2} for event in ("b", "a", "b -> a")]
    rest = [{"event": event, "count": 1} for event in ("c", "a -> b")]
    assert (row["events"], row["nonce"], row["executions"]) == (events, "n-2", 1)
    assert row["findings"] == [*findings, *rest] and len([*pairwise(events)]) == 4
    told = json.dumps(row["findings"], sort_keys=True, separators=(",", ":"))
    assert row["result"] == hashlib.sha256(f"n-2:{told}".encode()).hexdigest()


def test_knowledge_that_is_sent_again_is_the_same_piece(client: Client) -> None:
    body = {**PIECE, "knowledge_id": "again"}
    catalogue = client.get("/api/knowledge/catalog")["categories"]
    first, second = (client.ask("POST", KNOWLEDGE, body)[1] for _ in range(2))
    assert set(first) == {"id", "category", "audit_id"} and first["audit_id"] != second["audit_id"]
    assert (first["id"], first["category"]) == (second["id"], second["category"]) == ("again", first["category"])
    (row,) = [one for one in client.rows("/api/knowledge/all", "knowledge") if one["id"] == "again"]
    assert json.loads(row["tags"]) == PIECE["tags"] and {row[name] for name in ("content", "source")} == {
        PIECE["content"],
        PIECE["source"],
    }
    grown = client.get("/api/knowledge/catalog")["categories"]
    assert sum(grown.values()) == sum(catalogue.values()) + 1
    without_id = [client.ask("POST", KNOWLEDGE, PIECE)[1]["id"] for _ in range(2)]
    assert len({*without_id, "again"}) == 3, "without an id each request is a piece of its own"


def test_the_manifest_tells_what_can_be_judged(tmp_path_factory: pytest.TempPathFactory, client: Client) -> None:
    folder = next(Path(tmp_path_factory.getbasetemp()).glob("trail*"))
    told = yaml.safe_load((folder / "target.yaml").read_text())
    assert told["exclusive"] is True
    assert told["audit"] == {"head": "/api/immutable-log?last=1", "digest": "sha256", "every_request": True}
    assert [name for name, page in told["ledgers"].items() if page.get("proof") == "sha256"] == [
        "intents",
        "retrospectives",
    ]
    client.submit("head")
    wait_for(lambda: client.get(told["audit"]["head"])["entries"] == client.audit()[-1:], 5, "the head")
