"""Writer of audit entries: each is on disk in an outbox before its request is answered."""

from __future__ import annotations

from typing import Any

from twin.defects import Defects
from twin.outbox import Outbox

Entry = dict[str, Any]  # actor, action, resource, subsystem, payload, result, reference


class AuditWriter:
    """Writes entries to an outbox; the defects that are planted spoil some of them."""

    def __init__(self, outbox: Outbox, defects: Defects) -> None:
        self.outbox = outbox
        self.defects = defects

    async def write(self, entry: Entry) -> None:
        """Raises KernelError 503 when the entry cannot be written."""
        await self.outbox.add(entry)
