"""What a gateway does wrong where a defect is planted in it; one without any does nothing here."""

from __future__ import annotations

import asyncio
from typing import Any

from twin.defects import Defects
from twin.rpc import KernelError

INCIDENTS = "event.incident"
SLOW, FAILS = ("POST", "/api/clarity"), ("POST", "/api/voice")
EMPTIED = ("GET", "/api/knowledge")
SLOW_S = 6.0
BY_INCIDENTS = {"bystander_slow", "bystander_fails", "knowledge_empty_under_fault"}


class BrokenGateway:
    """The planted defects of a gateway, and what they need to remember."""

    def __init__(self, defects: Defects) -> None:
        self.defects = defects
        self.still_shedding: set[str] = set()
        self.still_bypassed: set[str] = set()
        self._open: set[str] = set()  # incidents of any safeguard

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics that hear() needs; () when no planted defect depends on incidents."""
        return (INCIDENTS,) if self.defects.planted & BY_INCIDENTS else ()

    def hear(self, message: dict[str, Any]) -> None:
        incident = str(message["payload"].get("incident_id"))
        (self._open.add if message["topic"] == INCIDENTS else self._open.discard)(incident)

    def ended(self, op: str, subject: str) -> None:
        """A playbook has taken back *op* for *subject*."""
        if op == "shed" and "shedding_stays" in self.defects.planted:
            self.still_shedding.add(subject)
        if op == "bypass" and "bypass_stays" in self.defects.planted:
            self.still_bypassed.add(subject)

    async def harm(self, method: str, path: str) -> None:
        """Delay or fail a request to a route that has no part in any incident, while one is open."""
        if not self._open:
            return
        if (method, path) == SLOW and "bystander_slow" in self.defects.planted:
            await asyncio.sleep(SLOW_S)
        if (method, path) == FAILS and "bystander_fails" in self.defects.planted:
            raise KernelError(500, "internal_error")

    def emptied(self, method: str, path: str, found: dict[str, Any]) -> dict[str, Any]:
        """The answer, without what was found while an incident is open."""
        if self._open and (method, path) == EMPTIED and "knowledge_empty_under_fault" in self.defects.planted:
            return {**found, "results": []}
        return found

    @property
    def lets_retrospectives_pass(self) -> bool:
        return "shed_retros_not" in self.defects.planted

    @property
    def deferred_beyond(self) -> int:
        """How far above the usual limit priorities are deferred too."""
        return int("shed_too_much" in self.defects.planted)

    def overlooks_one(self) -> bool:
        """True for an intent that is not deferred although it should be."""
        return self.defects.strikes("shed_half")

    def defers_one(self) -> bool:
        """True for a retrospective that is deferred although nothing is short."""
        return self.defects.strikes("deferred_in_silence")

    def answers_unrecorded(self) -> bool:
        """True for a request that is let through although nothing can be recorded."""
        return self.defects.strikes("refuse_leaks")
