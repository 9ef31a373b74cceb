"""Parts of a ledger row that every client writes alike: of the request as it was sent, and of its last answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from harness.digests import body_digest, canonical, field_digest, field_digests, proof_of

ACTIONS = {"intent": "create_intent", "retrospective": "create_retrospective", "knowledge": "add_knowledge"}
# kind → fields of the body that name the actor and the resource
ACTOR_IN = {"intent": "created_by", "retrospective": "actor", "knowledge": "source", "decision": "actor"}
RESOURCE_IN = {
    "intent": "intent_id",
    "retrospective": "retro_id",
    "knowledge": "knowledge_id",
    "decision": "resource",
}
REFERENCES = ("audit_id", "decision_id", "rejection_id")  # of an answer: each names its entry in the audit log
ALWAYS_OWN = ("audit_id", "decision_id")  # what differs in two answers that say the same
UNNAMED = "unnamed"  # a refusal whose answer has no error word
READ_BYTES_MAX = 16 * 1024  # of an invalid body: a longer one is not read by the target either
TOLD_MAX, VALUE_CHARS_MAX, WORD_CHARS_MAX = 20, 500, 100


def request_fields(kind: str, data: bytes, valid: bool = True, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Fields of a row that follow from the body alone; *body* is *data* as read, where the caller has it."""
    row: dict[str, Any] = {"digest": body_digest(data)}
    read = body if body is not None else mapping_of(data) if valid or len(data) <= READ_BYTES_MAX else {}
    row["actor"], row["resource"] = _text(read, ACTOR_IN.get(kind, "")), _text(read, RESOURCE_IN.get(kind, ""))
    row["action"] = _text(read, "action") if kind == "decision" else ACTIONS.get(kind, "")
    if valid:
        row |= {"sent": field_digests(read), "proof": proof_of(kind, read)}
    return row


def answer_fields(kind: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a row that follow from the body of the last answer."""
    row: dict[str, Any] = {"reference": next((str(answer[one]) for one in REFERENCES if answer.get(one)), "")}
    if answer.get("error"):
        row["error"] = error_word(answer)
    if kind == "decision":
        row["answer"] = str(answer.get("decision", ""))
        row["told"] = told_of(answer) if row["answer"] else {}
    return row


def told_of(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a question without its references; a value that is too long is kept as its digest."""
    names = sorted(name for name in answer if name not in ALWAYS_OWN)[:TOLD_MAX]  # in whatever order they were told
    return {name: shortened(answer[name]) for name in names}


def shortened(value: Any) -> Any:
    return value if len(canonical(value)) <= VALUE_CHARS_MAX else f"sha256:{field_digest(value)}"


def error_word(answer: Mapping[str, Any]) -> str:
    return cut_word(str(answer.get("error") or UNNAMED))


def cut_word(word: str) -> str:
    """*word* as a row keeps it: whoever compares a row with something else cuts that the same way."""
    return word[:WORD_CHARS_MAX]


def mapping_of(data: bytes) -> dict[str, Any]:
    """The JSON object that *data* holds; {} when it holds none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""
