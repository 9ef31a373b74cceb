"""The ledger's row for a request that an observer itself sent, so that no check takes it for somebody's work."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from harness.ledger import KINDS, PROBE, REJECTIONS, ROUTE_KINDS
from harness.model import Posted

# kind → (the field of a body that names it, the fields of an answer that name it)
NAMED = {
    "intent": ("intent_id", ("intent_id",)),
    "retrospective": ("retro_id", ("id", "retro_id")),
    "knowledge": ("knowledge_id", ("id",)),
}


def probe_row(posted: Posted, at_s: float) -> dict[str, Any] | None:
    """The row of ledger.jsonl; None for a request that changes nothing that a ledger holds.

    A body that the target rejects is the manifest's, and no valid request. Any other 4xx shows that there is no such
    route for the harness, and nothing was asked for.
    """
    kind = ROUTE_KINDS.get(posted.path.partition("?")[0]) if posted.method == "POST" else None
    if kind not in KINDS:
        return None
    told = _told(posted.answer)
    outcome = _outcome(posted)
    if outcome == "rejected" and posted.status not in REJECTIONS:
        return None
    identity = _identity(kind, posted, told)
    if not identity:
        return None
    row: dict[str, Any] = {
        "at_s": at_s,
        "user": PROBE,
        "kind": kind,
        "id": identity,
        "valid": outcome != "rejected",
        "flaw": "manifest_body" if outcome == "rejected" else "",
        "attempts": 1,
        "outcome": outcome,
        "status": posted.status,
        "reference": str(told.get("rejection_id") or told.get("decision_id") or ""),
    }
    if kind == "decision":
        row["question"] = "|".join(str(posted.body.get(name, "")) for name in ("actor", "action", "resource"))
        row["answer"] = str(told.get("decision", ""))
    why = told.get("shedding")
    if outcome == "refused" and isinstance(why, list) and why:
        row["deferred_for"] = ",".join(sorted(map(str, why)))
    return row


def _identity(kind: str, posted: Posted, told: Mapping[str, Any]) -> str:
    """The id that the body bears, else the one that the answer gives it; "" when nothing names it."""
    if kind == "decision":
        return str(told.get("decision_id") or f"{PROBE}-{uuid.uuid4().hex}")
    own, given = NAMED[kind]
    return next((str(found) for found in (posted.body.get(own), *map(told.get, given)) if found), "")


def _outcome(posted: Posted) -> str:
    again = "Retry-After" in {name.title() for name in posted.headers}
    if 200 <= posted.status < 300:
        return "accepted"
    if posted.status == 429 or (posted.status == 503 and again):
        return "refused"
    return "rejected" if 400 <= posted.status < 500 and posted.status != 408 else "unanswered"


def _told(answer: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}
