"""Digests that clients and judge compute alike: of a request's bytes, of each field sent, of the work it asks for."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

FIELD_HEX = 16  # of a field's digest: enough to tell two values apart, short enough for a ledger of 10,000 rows
FINDINGS_MAX = 5
# made once: json.dumps() with options makes an encoder for each call
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
_sorted = json.JSONEncoder(sort_keys=True).encode


def canonical(value: Any) -> str:
    """Return *value* as JSON with sorted keys, no blanks and no escapes beyond those that JSON needs."""
    return _canonical(value)


def body_digest(data: bytes) -> str:
    """SHA-256 of a request's body as it was sent, in hex."""
    return hashlib.sha256(data).hexdigest()


def field_digest(value: Any) -> str:
    """First FIELD_HEX digits of the SHA-256 of *value* in canonical JSON; half a character counts as "?"."""
    return hashlib.sha256(canonical(value).encode("utf-8", "replace")).hexdigest()[:FIELD_HEX]


def field_digests(body: Mapping[str, Any]) -> dict[str, str]:
    return {name: field_digest(value) for name, value in body.items()}


def same_field(digest: str, value: Any) -> bool:
    """Compare *value* with the digest of what was sent; 1.0 and 1 are the same number."""
    if field_digest(value) == digest:
        return True
    if isinstance(value, float) and value.is_integer():
        return field_digest(int(value)) == digest
    return type(value) is int and field_digest(float(value)) == digest


def intent_proof(body: Mapping[str, Any]) -> str:
    """Result of an intent with a `context.nonce`, "" without one: SHA-256 over all of it."""
    context = body.get("context")
    if not isinstance(context, Mapping) or not context.get("nonce"):
        return ""
    return hashlib.sha256(_sorted(body).encode()).hexdigest()


def findings_of(events: Sequence[str]) -> list[dict[str, Any]]:
    """The most frequent events, and pairs of neighbours, of a retrospective."""
    counts: Counter[str] = Counter(events)
    counts.update(f"{first} -> {second}" for first, second in pairwise(events))
    return [{"event": event, "count": count} for event, count in counts.most_common(FINDINGS_MAX)]


def retrospective_proof(body: Mapping[str, Any]) -> str:
    """Result of a retrospective with a `nonce`, "" without one: SHA-256 of the nonce and what was found."""
    nonce, events = body.get("nonce"), body.get("events")
    if not isinstance(nonce, str) or not nonce or not isinstance(events, list):
        return ""
    found = json.dumps(findings_of(events), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{nonce}:{found}".encode()).hexdigest()


PROOFS = {"intent": intent_proof, "retrospective": retrospective_proof}


def proof_of(kind: str, body: Mapping[str, Any]) -> str:
    """The result that only an execution of this request gives; "" for a kind that nothing is executed for."""
    return PROOFS[kind](body) if kind in PROOFS else ""
