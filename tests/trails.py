"""A run whose clients record all that they sent, on a target that promises all of the audit trail; easy to break."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.judge import judge_claim
from harness.ledger_row import answer_fields, request_fields
from harness.model import INVARIANT, Claim, Finding, Kind
from harness.record import Record
from tests.drafts import END, healthy
from tests.ledgers import Row, World, chained

OFFERS = (
    *("audit.digest", "audit.every_request", "audit.head", "exclusive", "routes"),
    *("ledgers.intents", "ledgers.intents.proof", "ledgers.retrospectives", "ledgers.retrospectives.proof"),
    *("ledgers.knowledge", "ledgers.audit"),
)
CLIENT, NUMBERS = "127.0.0.2", {"intent": "i", "retrospective": "r", "knowledge": "k", "decision": "d"}
PROBED = {"actor": "probe", "action": "read", "resource": "status", "payload": {}}
VERDICTS = {"allow": (True, False, 0.2), "deny": (False, False, 0.9), "review": (False, True, 0.6)}
NEW_FIELDS = ("sent", "digest", "proof", "actor", "action", "resource", "told", "refusals", "lost", "error", "begun_s")


def body(kind: str, number: int) -> Row:
    name = f"run-{NUMBERS[kind]}{number}"
    if kind == "intent":
        context = {"nonce": f"n{number}"}
        return {"intent_id": name, "goal": "näher", "created_by": "me", "confidence": 0.5, "context": context}
    if kind == "retrospective":
        return {"retro_id": name, "subject": "s", "events": ["a", "b", "a"], "nonce": f"n{number}"}
    if kind == "knowledge":
        return {"knowledge_id": name, "content": "c", "source": "me", "confidence": 1.0, "tags": ["x", "y"]}
    return {"actor": "me", "action": "read", "resource": f"lamp{number % 2}", "payload": {"note": number}}


def answer_to(decision: str) -> Row:
    allowed, asks, risk = VERDICTS[decision]
    words = {"allowed": allowed, "approved": allowed, "requires_approval": asks, "decision": decision}
    return {**words, "risk_score": risk, "reason": f"risk {risk}: {decision}"}


class Trail(World):
    """A World that grows by whole requests: ask() adds the client's row and all that the target holds of it."""

    def __init__(self) -> None:
        super().__init__(draft=healthy(), sent=[], held={"intents": [], "retrospectives": [], "knowledge": []})
        self.entries: list[Row] = []
        self.heads: list[tuple[float, int]] = []
        self.offers: tuple[str, ...] = OFFERS
        self.ledgers: dict[str, Any] = {name: {"rows_before": 0} for name in (*self.held, "audit")}
        self.at_s = 9.0

    def ask(self, kind: str, number: int, user: str = "legitimate", **changes: Any) -> Row:
        """One accepted request, a tenth of a second after the one before."""
        asked = changes.pop("body", None) or body(kind, number)
        data = json.dumps(asked).encode()
        decision = changes.pop("decision", "allow")
        reference = changes.pop("reference", f"a{len(self.entries)}")
        said = {**(answer_to(decision) if kind == "decision" else {}), "audit_id": reference}
        self.at_s += 0.1
        row = {
            "at_s": self.at_s,
            "begun_s": round(self.at_s - 0.05, 3),
            "user": user,
            "kind": kind,
            "valid": True,
            "id": f"run-{NUMBERS[kind]}{number}",
            "flaw": "",
            "attempts": 1,
            "outcome": "accepted",
            "status": 200,
            **request_fields(kind, data),
            **answer_fields(kind, said),
        }
        if kind == "decision":
            row["question"] = "|".join(asked[name] for name in ("actor", "action", "resource"))
        row.update(changes)
        assert self.sent is not None
        self.sent.append(row)
        self.hold(kind, asked, row)
        self.enter(row, decision if kind == "decision" else "accepted", said)
        return row

    def hold(self, kind: str, asked: Mapping[str, Any], row: Row) -> None:
        done = {"status": "completed", "executions": 1, "result": row.get("proof", "")}
        if kind == "intent":
            self.held["intents"].append({"intent_id": row["id"], "intent": dict(asked), **done})
        elif kind == "retrospective":
            kept = {name: asked[name] for name in ("subject", "events", "nonce")}
            self.held["retrospectives"].append({"id": row["id"], **kept, **done})
        elif kind == "knowledge":
            kept = {name: asked[name] for name in ("content", "source", "confidence")}
            number = len(self.held["knowledge"]) + 1
            tags = json.dumps(asked["tags"])
            self.held["knowledge"].append({"id": row["id"], "number": number, "category": "x", "tags": tags, **kept})

    def enter(self, row: Row, result: str, said: Mapping[str, Any] | None = None, reason: str = "") -> Row:
        """The entry of a request."""
        answer = {name: value for name, value in (said or {}).items() if name not in ("audit_id", "decision_id")}
        more = {"told": answer} if row["kind"] == "decision" and answer else {}
        payload = {"digest": row["digest"], "client": CLIENT, "reason": reason or str(answer.get("reason", "")), **more}
        verb = {"rejected": "reject", "refused": "refuse"}.get(result)
        entry = {
            "actor": row["actor"] or CLIENT,
            "action": f"{verb}_{row['kind']}" if verb else row["action"],
            "resource": row["resource"],
            "subsystem": row["kind"],
            "payload": payload,
            "result": result,
            "reference": row["reference"],
        }
        self.entries.append(entry)
        return entry

    def turn_down(self, kind: str, number: int, outcome: str, word: str, status: int, **changes: Any) -> Row:
        """One request that was refused or rejected."""
        row = self.ask(kind, number, **changes)
        for rows in self.held.values():
            rows[:] = [one for one in rows if row["id"] not in (one.get("id"), one.get("intent_id"))]
        entry = self.entries[-1]
        verb = {"rejected": "reject", "refused": "refuse"}[outcome]
        entry |= {"action": f"{verb}_{kind}", "result": outcome}
        entry["payload"] = {"digest": row["digest"], "client": CLIENT, "reason": word}
        row |= {"outcome": outcome, "status": status, "error": word}
        row |= {"refusals": {word: 1}} if outcome == "refused" else {}
        row.pop("told", None)
        return row

    def entry(self, reference: str) -> Row:
        return next(one for one in self.entries if one["reference"] == reference)

    def record(self, folder: Path) -> Record:
        texts = [
            {**one, "payload": json.dumps(one["payload"], sort_keys=True, separators=(",", ":"))}
            for one in self.entries
        ]
        made = chained(texts)
        self.held["audit"] = self.held.get("audit") or made
        for at_s, sequence in self.heads or [(10.0, 1), (20.0, len(made))]:
            found = next((one for one in made if one["sequence"] == sequence), None)
            digest = found["entry_hash"] if found else "f" * 64
            self.draft.add(at_s, Kind.AUDIT_HEAD, "audit", "audit_head", sequence=sequence, entry_hash=digest)
        if not any(signal == "audit_head_up" for _, signal, *_ in self.draft.signals):
            self.draft.signals += [(float(second), "audit_head_up", "", 1.0) for second in range(int(END) + 1)]
        name = self.draft.plan.scenario_id
        self.draft.change(Kind.RUN_STARTED, name, run_format=2, ledgers=self.ledgers)
        self.draft.add(END - 0.1, Kind.READ_BACK, name, "run", rows=1, problems=[], interrupted="", began_s=END - 0.4)
        self.draft.plan = replace(self.draft.plan, offers=self.offers)
        return super().record(folder)


def trail() -> Trail:
    """Two accepted requests of each kind and one of each that was turned down, with the probes' own among them."""
    made = Trail()
    for number in (1, 2):
        for kind in ("intent", "retrospective", "knowledge"):
            made.ask(kind, number)
    for number in (1, 2, 3, 4):
        made.ask("decision", number, decision=("deny", "allow")[number % 2])
    made.turn_down("intent", 8, "refused", "rate_limited", 429)
    made.turn_down("intent", 9, "rejected", "invalid_field", 422, valid=False, flaw="negative_sla")
    for number in (1, 2):
        made.ask("decision", 90 + number, user="probe", body=PROBED, id=f"probe-{number}")
    return made


def found(check: str, record: Record) -> Finding:
    """The invariant's finding, by way of the judge: it says by itself what has no source."""
    return judge_claim(record, Claim(claim=check, check=check, group=INVARIANT))
