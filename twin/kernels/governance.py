"""governance: decides who may do what, always the same for the same question, and records each decision for good."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any

from twin.audit import AuditWriter
from twin.commit import GroupCommit
from twin.defects import Defects
from twin.fields import text
from twin.kernel import Kernel
from twin.outbox import SCHEMA, Outbox
from twin.rpc import KernelError
from twin.rules import RULES, rules_of
from twin.settings import LiveSettings, Settings

DELIVERED = Settings()
RISK_ASIDE = 0.0123  # of a planted defect


def decide(
    actor: str,
    action: str,
    resource: str,
    risk_added: float = 0.0,
    rules: Mapping[str, Any] = RULES,
    settings: Settings = DELIVERED,
) -> dict[str, Any]:
    """A pure function of the question: risk from the action and the resource, and a share by who asks."""
    base = next((risk for verb, risk in rules["risk"].items() if verb in action), rules["risk_of_others"])
    sensitive = rules["risk_of_sensitive"] if any(word in resource for word in rules["sensitive"]) else 0.0
    share = int(hashlib.sha256(f"{actor}:{action}:{resource}".encode()).hexdigest()[:4], 16) / 0xFFFF * 0.1
    risk = round(min(1.0, base + sensitive + share + risk_added), 4)
    asks = settings.governance_approval_required and risk >= rules["review_from"]
    decision = "deny" if risk >= settings.governance_deny_from else "review" if asks else "allow"
    return {
        "allowed": decision == "allow",
        "approved": decision == "allow",
        "requires_approval": decision == "review",
        "decision": decision,
        "risk_score": risk,
        "reason": f"risk {risk:.2f}: {decision}",
    }


class Governance(Kernel):
    name = "governance"

    async def setup(self) -> None:
        db = self.open_db("governance", SCHEMA, self.config.audit_dir)
        self.outbox = Outbox(self, db, GroupCommit(db))
        self.defects = Defects(self.config.defects)
        self.audit = AuditWriter(self.outbox, self.defects)
        self.settings = LiveSettings(self.config)
        self._crossed: list[dict[str, Any]] | None = None
        self.rules = self.followed = rules_of(self.config)
        if self.defects.begun_before("rules_forgotten", self.config.state_dir):
            self.followed = {**self.rules, "review_from": 1.0}
        self.stuck: Settings | None = None
        if "settings_not_followed" in self.defects.planted:
            self.spawn(self._stick())
        self.spawn(self.outbox.relay())

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "rules":
            return {"rules": self.rules}
        if op == "settings":
            self.settings.get(time.monotonic(), at_once=True)
            return {"sha256": self.settings.sha256, "problem": self.settings.problem}
        if op != "check":
            raise KernelError(404, "unknown_operation", op=op)
        if self.defects.crushed(time.monotonic()):
            os._exit(70)
        actor, action, resource = (text(payload, name, 200) for name in ("actor", "action", "resource"))
        added = self.defects.risk_added(f"{actor}:{action}:{resource}")
        answer = decide(actor, action, resource, added, self.followed, self._settings())
        if self.defects.strikes("field_differs"):
            answer = {**answer, "risk_score": round(answer["risk_score"] + RISK_ASIDE, 4)}
        reference = uuid.uuid4().hex
        entry = {
            "actor": actor,
            "action": action,
            "resource": resource,
            "subsystem": "governance",
            # what the client sent beside the question is covered by the digest
            "payload": {**payload.get("request", {}), "reason": answer["reason"], "told": answer},
            "result": answer["decision"],
            "reference": reference,
        }
        told = [{**answer, "decision_id": reference, "audit_id": reference}]
        if self.defects.strikes("told_otherwise"):
            told[0] |= {"risk_score": round(answer["risk_score"] + RISK_ASIDE, 4), "approved": not answer["approved"]}
        self._cross(told)
        try:
            if not self.defects.strikes("audit_row_dropped"):
                await self.audit.write(entry)
        finally:
            if self._crossed is told:
                self._crossed = None
        return told[0]

    def _settings(self) -> Settings:
        return self.stuck or self.settings.get(time.monotonic())

    async def _stick(self) -> None:
        """Where it is planted: the first settings that differ from those at the start are followed for good."""
        first = self.settings.get(time.monotonic())
        while self.stuck is None:
            await asyncio.sleep(0.05)
            now = self.settings.get(time.monotonic())
            self.stuck = now if now != first else None

    def _cross(self, told: list[dict[str, Any]]) -> None:
        """Where it is planted: what one asker is told changes places with what is told to the next, while both wait."""
        other = self._crossed
        if other is not None:
            self._crossed, told[0], other[0] = None, other[0], told[0]
        elif self.defects.strikes("answers_swapped"):
            self._crossed = told


KERNEL = Governance
