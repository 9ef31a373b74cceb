"""Reads the last entry of the target's audit log: a history that is rewritten later lacks a head that was seen."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from typing import Any, ClassVar

from harness.contracts import Target, View
from harness.loopback import Client
from harness.model import Kind, Reading

LEDGER = "audit"
LINK = ("sequence", "entry_hash")


class AuditHead:
    """audit_head_up and audit_head_sequence samples; an event when the head is another one.

    A log that does not answer may be struck by a fault: that is a sample of 0, and no lost signal.
    """

    every_s: ClassVar[float] = 1.0

    def __init__(self, target: Target) -> None:
        assert target.audit is not None
        self.path, self.rows = target.audit.head, target.ledgers[LEDGER].rows
        self.client = Client(target.base_url, timeout_s=1.5, permitted=target.permitted)
        self.head: dict[str, Any] = {}

    @staticmethod
    def missing(target: Target) -> str:
        """Return the manifest key that this observer lacks; "" for none."""
        if target.audit is None or not target.audit.head:
            return "audit.head"
        return "" if LEDGER in target.ledgers else f"ledgers.{LEDGER}"

    def observe(self, view: View) -> Iterable[Reading]:
        try:
            answer = self.client.get_json(self.path)
        except (OSError, http.client.HTTPException):
            yield Reading(at_s=view.now_s(), name="audit_head_up", value=0.0)
            return
        at_s = view.now_s()
        yield Reading(at_s=at_s, name="audit_head_up", value=1.0)
        rows = answer.get(self.rows) if isinstance(answer, dict) else None
        if not isinstance(rows, list):
            raise ValueError(f"{self.path} has no list of rows called {self.rows!r}")
        if not rows:
            return  # a log that holds nothing yet
        last = rows[-1]
        if not isinstance(last, dict) or type(last.get(LINK[0])) is not int or not isinstance(last.get(LINK[1]), str):
            raise ValueError(f"{self.path}: a sequence and an entry_hash are expected, not {str(last)[:200]}")
        head = {name: last[name] for name in LINK}
        yield Reading(at_s=at_s, name="audit_head_sequence", value=float(head["sequence"]))
        if head != self.head:
            self.head = head
            yield Reading(at_s=at_s, name="audit_head", subject=LEDGER, kind=Kind.AUDIT_HEAD, detail=head)

    def close(self) -> None:
        self.client.close()


OBSERVER = AuditHead
