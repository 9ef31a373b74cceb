"""librarian: takes in knowledge; passes it on to memory_fusion, and keeps the catalogue itself."""

from __future__ import annotations

from typing import Any

from twin.kernel import Kernel
from twin.rpc import KernelError

ASK_LIMIT_S = 1.8  # below the gateway's own limit, so that the kernel at fault is named


class Librarian(Kernel):
    name = "librarian"

    async def setup(self) -> None:
        self.db = self.open_db(
            "librarian", "CREATE TABLE IF NOT EXISTS catalog (category TEXT PRIMARY KEY, entries INTEGER)"
        )

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "add":
            added = await self.rpc.call("memory_fusion", "add", payload, ASK_LIMIT_S)
            self.db.execute(
                "INSERT INTO catalog VALUES (?, 1) ON CONFLICT (category) DO UPDATE SET entries = entries + 1",
                (payload["category"],),
            )
            return added
        if op == "catalog":
            rows = self.db.execute("SELECT category, entries FROM catalog ORDER BY category")
            return {"categories": {row["category"]: row["entries"] for row in rows}}
        raise KernelError(404, "unknown_operation", op=op)


KERNEL = Librarian
