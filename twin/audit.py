"""Writer of audit entries: each is on disk in an outbox before its request is answered."""

from __future__ import annotations

import hashlib
import uuid
from typing import Any

from twin.defects import Defects
from twin.http.outsiders import ACTOR
from twin.outbox import Outbox

Entry = dict[str, Any]  # actor, action, resource, subsystem, payload, result, reference
UNLOGGED = {"accepted": "accepted_unlogged", "rejected": "rejection_unlogged", "refused": "refusal_unlogged"}


class AuditWriter:
    """Writes entries to an outbox; the defects that are planted spoil some of them."""

    def __init__(self, outbox: Outbox, defects: Defects) -> None:
        self.outbox = outbox
        self.defects = defects

    async def write(self, entry: Entry) -> None:
        """Raises KernelError 503 when the entry cannot be written."""
        for one in self._spoilt(entry) if self.defects.planted else [entry]:
            await self.outbox.add(one)

    async def reserve(self, entry: Entry) -> list[int]:
        """Numbers for confirm() or cancel(). Raises KernelError 503 when the entry cannot be written."""
        spoilt = self._spoilt(entry) if self.defects.planted else [entry]
        return [await self.outbox.reserve(one) for one in spoilt]

    async def confirm(self, numbers: list[int]) -> None:
        for number in numbers:
            await self.outbox.confirm(number)

    async def cancel(self, numbers: list[int]) -> None:
        for number in numbers:
            await self.outbox.cancel(number)

    def _spoilt(self, entry: Entry) -> list[Entry]:
        """Entries that are written in the place of *entry*."""
        unlogged = UNLOGGED.get(entry["result"], "")
        if unlogged and self.defects.strikes(unlogged):
            return []
        payload = entry["payload"]
        if self.defects.strikes("entry_actor_wrong"):
            entry = {**entry, "actor": "nobody"}
        if self.defects.strikes("entry_digest_wrong"):
            entry = {**entry, "payload": {**payload, "digest": _another(payload["digest"])}}
        if payload["reason"] and self.defects.strikes("entry_reason_missing"):
            entry = {**entry, "payload": {**payload, "reason": ""}}
        as_whom = [entry["actor"]] if self.defects.strikes("entry_invented") else []
        as_whom += [ACTOR] if self.defects.strikes("entry_of_the_auditor") else []
        return [entry, *(_invented(entry, actor) for actor in as_whom)]


def _invented(entry: Entry, actor: str) -> Entry:
    payload = {**entry["payload"], "digest": _another(entry["payload"]["digest"])}
    return {**entry, "actor": actor, "payload": payload, "resource": "invented", "reference": uuid.uuid4().hex}


def _another(digest: str) -> str:
    return hashlib.sha256(digest.encode()).hexdigest()
