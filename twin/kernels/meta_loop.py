"""meta_loop: looks back at what happened and counts what recurs."""

from __future__ import annotations

import json
import time
import uuid
from collections import Counter
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError

SCHEMA = "CREATE TABLE IF NOT EXISTS retrospectives (id TEXT PRIMARY KEY, subject TEXT, findings TEXT, at REAL)"
EVENTS_MAX = 1000


class MetaLoop(Kernel):
    name = "meta_loop"

    async def setup(self) -> None:
        self.db = self.open_db("meta_loop", SCHEMA)

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "retrospective":
            raise KernelError(404, "unknown_operation", op=op)
        subject, events = text(payload, "subject", 500), payload.get("events", [])
        if not isinstance(events, list) or len(events) > EVENTS_MAX:
            raise KernelError(422, "invalid_field", field="events", expected=f"a list of at most {EVENTS_MAX}")
        recurring = [{"event": event, "count": n} for event, n in Counter(map(str, events)).most_common(5)]
        identity = uuid.uuid4().hex
        self.db.execute(
            "INSERT INTO retrospectives VALUES (?, ?, ?, ?)",
            (identity, subject, json.dumps(recurring), time.time()),
        )
        return {"id": identity, "status": "completed", "recurring": recurring}


KERNEL = MetaLoop
