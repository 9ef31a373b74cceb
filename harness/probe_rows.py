"""Ledger rows of what the harness itself asked: a route's probe changes the target's state as a client's request does.

Without them a decision, or a retrospective, that a probe asked for would be held without a request.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from harness.ledger import NAMED_IN, PROBE, ROUTE_KINDS
from harness.ledger_row import answer_fields, error_word, mapping_of, request_fields

_numbers = count(1)


def probe_rows(at_s: float, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the row of a request that the harness made; none when it changes no state.

    *asked*: method, path, data (bytes), status (0: no answer), retry_after (bool), content (bytes), begun_s.
    """
    kind = ROUTE_KINDS.get(urlsplit(str(asked["path"])).path)
    if kind is None or asked["method"] != "POST":
        return []
    status, answer = int(asked["status"]), mapping_of(asked["content"])
    outcome = _outcome(status, bool(asked["retry_after"]))
    fields = request_fields(kind, asked["data"])
    own, field = fields["resource"] if kind in NAMED_IN else "", NAMED_IN.get(kind, "")
    misnamed = bool(own) and outcome == "accepted" and answer.get(field, own) != own
    named = str(answer.get(field, "")) if outcome == "accepted" else ""
    if misnamed:
        outcome = "unanswered"
    row = {
        "at_s": round(at_s, 3),
        "user": PROBE,
        "kind": kind,
        "id": own or named or f"probe-{next(_numbers)}",
        "valid": True,
        "flaw": "",
        "attempts": 1,
        "outcome": outcome,
        "status": status,
        "lost": int(outcome == "unanswered"),
        "begun_s": round(float(asked["begun_s"]) - 0.0005, 3),
        **fields,
        **answer_fields(kind, answer),
    }
    if kind == "decision":
        row["id"] = f"probe-{next(_numbers)}"
        row["question"] = "|".join((fields["actor"], fields["action"], fields["resource"]))
    if misnamed:
        row["misnamed"] = 1
    if outcome == "refused":
        row["refusals"] = {error_word(answer): 1}
    return [row]


def _outcome(status: int, retry_after: bool) -> str:
    if 200 <= status < 300:
        return "accepted"
    if status == 429 or (status == 503 and retry_after):
        return "refused"
    return "rejected" if 400 <= status < 500 and status != 408 else "unanswered"
