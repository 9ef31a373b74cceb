"""Ledgers of a run for the checks' tests: a client and a target that agree, and easy to make disagree."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from harness.model import Magnitude, Step
from harness.record import Record
from tests.drafts import Draft, healthy

Row = dict[str, Any]
FLOOD, LEGITIMATE = "htm_flood", "legitimate"
QUESTIONS = ("me|read|status", "me|delete|production_database")
ANSWERS = ("allow", "deny")


def sent(kind: str, identity: str, user: str = FLOOD, **changes: Any) -> Row:
    row = {"at_s": 12.0, "user": user, "kind": kind, "id": identity, "valid": True, "flaw": "", "attempts": 1}
    return {**row, "outcome": "accepted", "status": 200, "reference": "", **changes}


def invalid(identity: str, flaw: str, status: int, reference: str) -> Row:
    rejected = {"outcome": "rejected", "status": status, "reference": reference}
    return sent("intent", identity, valid=False, flaw=flaw, **rejected)


def decision(identity: str, number: int, reference: str) -> Row:
    words = {"question": QUESTIONS[number], "answer": ANSWERS[number]}
    return sent("decision", identity, reference=reference, **words)


def intent(identity: str, **changes: Any) -> Row:
    row = {"intent_id": identity, "status": "completed", "executions": 1, "priority": 5}
    return {**row, "accepted_at": 1.0, "completed_at": 2.0, **changes}


def entry(reference: str, question: str, result: str, subsystem: str = "governance") -> Row:
    actor, action, resource = question.split("|")
    row = {"actor": actor, "action": action, "resource": resource, "subsystem": subsystem}
    return {**row, "payload": '{"note":"\\u00e4"}', "result": result, "reference": reference}


def chained(entries: list[Row]) -> list[Row]:
    """*entries* with numbers and hashes as a sound log gives them."""
    previous, rows = "0" * 64, []
    for sequence, one in enumerate(entries, 1):
        parts = [str(one[key]) for key in ("actor", "action", "resource", "payload", "result")]
        digest = hashlib.sha256(":".join((str(sequence), *parts, previous)).encode()).hexdigest()
        rows.append({**one, "sequence": sequence, "previous_hash": previous, "entry_hash": digest})
        previous = digest
    return rows


@dataclass
class World:
    """What was sent and what is held. Change the lists, then record()."""

    draft: Draft = field(default_factory=healthy)
    sent: list[Row] | None = field(default_factory=list)
    held: dict[str, list[Row]] = field(default_factory=dict)

    def row(self, identity: str, flaw: str = "") -> Row:
        """The client's row of this id."""
        return next(one for one in self.sent or [] if one["id"] == identity and one["flaw"] == flaw)

    def of(self, name: str, identity: str) -> Row:
        """The target's row of this id or reference."""
        keys = {"intents": "intent_id", "retrospectives": "id", "audit": "reference"}
        return next(one for one in self.held[name] if one[keys[name]] == identity)

    def lose(self, name: str, identity: str) -> None:
        self.held[name].remove(self.of(name, identity))

    def rechain(self) -> None:
        self.held["audit"] = chained(self.held["audit"])

    def record(self, folder: Path) -> Record:
        def text(rows: list[Row]) -> str:
            return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)

        self.draft.files = {f"target/{name}.jsonl": text(rows) for name, rows in self.held.items()}
        if self.sent is not None:
            self.draft.files["ledger.jsonl"] = text(self.sent)
        return self.draft.record(folder)


def world() -> World:
    """A flood of 4 valid and 3 invalid intents, 4 questions and 2 retrospectives, among legitimate users."""
    made = World()
    made.sent = [
        *(sent("intent", f"run-{n}") for n in range(4)),
        invalid("run-4", "unknown_enum", 422, "x4"),
        invalid("run-5", "oversized", 413, "x5"),
        invalid("run-0", "duplicate_id", 409, "x6"),
        *(decision(f"run-d{n}", n % 2, f"d{n}") for n in range(4)),
        *(sent("retrospective", f"run-r{n}", status=202) for n in range(2)),
        sent("intent", "run-l1", LEGITIMATE),
        sent("intent", "run-l2", LEGITIMATE, outcome="refused", status=503),
        sent("intent", "run-l3", LEGITIMATE, outcome="unanswered", status=0),
    ]
    made.held = {
        "intents": [intent(f"run-{n}") for n in (0, 1, 2, 3, "l1", "l3")],
        "retrospectives": [{"id": f"run-r{n}", "subject": "s", "status": "completed"} for n in range(2)],
        "audit": [
            entry("p1", "probe|read|status", "allow"),
            *(entry(f"x{n}", f"client|reject_intent|run-{n}", "rejected", "htm") for n in (4, 5, 6)),
            *(entry(f"d{n}", QUESTIONS[n % 2], ANSWERS[n % 2]) for n in range(4)),
        ],
    }
    made.rechain()
    asked = Magnitude(name="sent", value=13.0, unit="requests", tolerance=0.0)
    pause = made.draft.plan.steps[-1]
    step: Step = replace(pause, step_id="api_flood", type="api_flood", asked=asked, subject="127.0.0.3")
    made.draft.plan = replace(made.draft.plan, steps=(*made.draft.plan.steps, step))
    for half in range(16, 72):
        depth = 180.0 - 9 * (half - 16) if half < 36 else 0.0
        made.draft.signals.append((half / 2, "htm_queue_depth", "", depth))
    return made
