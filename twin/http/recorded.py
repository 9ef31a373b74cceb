"""Requests that change state, and the audit entry that each of them gets, whatever its answer."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from twin.audit import AuditWriter
from twin.rpc import KernelError

CLAIM_CHARS_MAX = 200
NOT_WRITTEN = ("log_unwritable", "audit_backlog")  # the entry itself could not be written
Content = dict[str, Any]
Answer = tuple[int, Content]


@dataclass(frozen=True)
class RequestKind:
    """What the entries of one route say. *actor* and *resource* are fields of the body."""

    name: str
    accepted: str  # the action of an accepted request; "": the kernel itself writes that entry
    subsystem: str
    actor: str
    resource: str
    status: int = 200


KINDS = {
    "/api/htm/intents": RequestKind("intent", "create_intent", "htm", "created_by", "intent_id"),
    "/api/meta_loop/retrospective": RequestKind(
        *("retrospective", "create_retrospective", "meta_loop", "actor", "retro_id"), status=202
    ),
    "/api/knowledge": RequestKind("knowledge", "add_knowledge", "knowledge", "source", "knowledge_id"),
    "/api/governance/check": RequestKind("decision", "", "governance", "actor", "resource"),
}


@dataclass
class Attempt:
    """One HTTP request. While *body* is empty (not read as JSON), nothing is known of its actor and its resource."""

    kind: RequestKind
    client: str
    digest: str  # SHA-256 of the body's bytes; "": it was too long to be read to its end
    body: dict[str, Any] = field(default_factory=dict)

    def claim(self, name: str) -> str:
        """The text that the body has under *name*; "" when it has none that can be written down."""
        value = self.body.get(name)
        if not isinstance(value, str) or len(value) > CLAIM_CHARS_MAX:
            return ""
        return "" if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value) else value

    def entry(self, action: str, resource: str, result: str, reason: str) -> dict[str, Any]:
        return {
            "actor": self.claim(self.kind.actor) or self.client,
            "action": action,
            "resource": resource,
            "subsystem": self.kind.subsystem,
            "payload": {"digest": self.digest, "client": self.client, "reason": reason},
            "result": result,
            "reference": uuid.uuid4().hex,
        }


class RequestTrail:
    """Writes the entry of a request; its reference is the `audit_id` of the answer."""

    def __init__(self, writer: AuditWriter) -> None:
        self.writer = writer

    async def done(self, attempt: Attempt, resource: str, work: Callable[[], Awaitable[Content]]) -> Content:
        """The answer of *work*, which begins only once its entry is on the disk; the entry counts when it is done.

        Raises KernelError 503 when there is no room, and what *work* raises.
        """
        entry = attempt.entry(attempt.kind.accepted, resource, "accepted", "")
        numbers = await self.writer.reserve(entry)
        try:
            content = await work()
        except BaseException:
            await self.writer.cancel(numbers)
            raise
        await self.writer.confirm(numbers)
        return {**content, "audit_id": entry["reference"]}

    async def turned_down(self, attempt: Attempt, error: KernelError) -> Answer:
        """An answer that leaves open whether the kernel has the request (a time-out) gets no entry."""
        content = {"error": error.error, **error.detail}
        refused = "retry_after_s" in error.detail
        if error.error in NOT_WRITTEN or (error.status >= 500 and not refused):
            return error.status, content
        kind = attempt.kind
        verb, result = ("refuse", "refused") if refused else ("reject", "rejected")
        entry = attempt.entry(f"{verb}_{kind.name}", attempt.claim(kind.resource), result, error.error)
        await self.writer.write(entry)
        content["audit_id"] = entry["reference"]
        if kind.name == "intent" and not refused:
            content["rejection_id"] = entry["reference"]
        return error.status, content
