"""Digests of fields and proofs of execution: equal for what is equal, different for any change."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from harness.digests import field_digest, findings_of, intent_proof, proof_of, retrospective_proof, same_field
from harness.ledger_row import answer_fields, request_fields, shortened, told_of
from locustfiles.attacks import intents, retros
from twin.kernels.meta_loop import analyse

INTENT = {"intent_id": "r-1", "goal": "näher", "context": {"nonce": "n1"}, "confidence": 0.5}
RETRO = {"retro_id": "r-1", "events": ["a", "b", "a", "b"], "nonce": "n1"}


def test_the_same_value_in_another_order_has_the_same_digest() -> None:
    assert field_digest({"a": 1, "b": "ä"}) == field_digest({"b": "ä", "a": 1}) != field_digest({"a": 1, "b": "a"})
    assert len(field_digest("\ud800")) == 16


@pytest.mark.parametrize(("sent", "held", "same"), [(1.0, 1, True), (1, 1.0, True), (0.5, 0.5, True), (1, True, False)])
def test_a_number_is_the_same_in_either_form(sent: Any, held: Any, same: bool) -> None:
    assert same_field(field_digest(sent), held) is same


def test_the_proof_of_an_intent_covers_its_nonce_and_every_field() -> None:
    proof = intent_proof(INTENT)
    assert proof == hashlib.sha256(json.dumps(INTENT, sort_keys=True).encode()).hexdigest()
    for change in ({"goal": "x"}, {"context": {"nonce": "n2"}}, {"confidence": 0.6}):
        assert intent_proof({**INTENT, **change}) != proof
    assert intent_proof({**INTENT, "context": {}}) == intent_proof({"context": "n"}) == ""


def test_the_proof_of_a_retrospective_covers_its_findings() -> None:
    proof = retrospective_proof(RETRO)
    found = json.dumps(findings_of(["a", "b", "a", "b"]), sort_keys=True, separators=(",", ":"))
    assert proof == hashlib.sha256(f"n1:{found}".encode()).hexdigest()
    assert retrospective_proof({**RETRO, "nonce": "n2"}) != proof
    assert retrospective_proof({**RETRO, "events": ["a", "b"]}) != proof
    assert retrospective_proof({**RETRO, "nonce": ""}) == proof_of("decision", RETRO) == ""


def test_what_is_found_is_what_the_embedded_grace_finds() -> None:
    for payload in retros.generate(7, 20):
        events = json.loads(payload.body)["events"]
        assert findings_of(events) == analyse(events)


def test_every_valid_payload_has_a_proof_of_its_own() -> None:
    made = [one for one in (*intents.generate(7, 500, 0.2), *retros.generate(7, 50)) if one.valid]
    proofs = {request_fields(one.kind, one.body)["proof"] for one in made}
    assert len(proofs) == len(made) and "" not in proofs


def test_an_answer_is_told_without_its_references() -> None:
    answer = {"decision": "deny", "risk_score": 1, "decision_id": "d1", "audit_id": "a1", "why": "x" * 600}
    row = answer_fields("decision", answer)
    assert row["told"] == {"decision": "deny", "risk_score": 1, "why": shortened("x" * 600)}
    assert row["reference"] == "a1" and len(row["told"]["why"]) < 30
    assert answer_fields("decision", {"error": "kernel_timeout"})["told"] == {} == told_of({})


def test_of_an_invalid_body_only_what_can_be_read_is_told() -> None:
    read = request_fields("intent", b'{"created_by": "me", "intent_id": 7}', valid=False)
    assert (read["actor"], read["resource"]) == ("me", "") and "sent" not in read
    for data in (b"", b"[]", b"{", b'{"created_by": "me", "note": "' + b"x" * 20_000 + b'"}'):
        assert request_fields("intent", data, valid=False)["actor"] == ""
