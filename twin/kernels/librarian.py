"""librarian: takes in knowledge; says what it is about, passes it on to memory_fusion, keeps the catalogue itself."""

from __future__ import annotations

import time
from typing import Any

from twin.defects import Defects
from twin.fields import text
from twin.kernel import Kernel
from twin.models import CLASSIFIER
from twin.models.store import ModelInUse
from twin.rpc import KernelError

ASK_LIMIT_S = 1.8  # below the gateway's own limit, so that the kernel at fault is named


class Librarian(Kernel):
    name = "librarian"

    async def setup(self) -> None:
        self.db = self.open_db(
            "librarian", "CREATE TABLE IF NOT EXISTS catalog (category TEXT PRIMARY KEY, entries INTEGER)"
        )
        self.classifier = ModelInUse(self.config, CLASSIFIER)
        self.defects = Defects(self.config.defects)

    def _classify(self, content: str) -> dict[str, Any]:
        """What *content* is about. Without the classifier nothing is: the answer comes all the same, and says so."""
        model = self.classifier.get(time.monotonic())
        if model is None:
            return {"category": "unclassified", "confidence": 0.0, "degraded": [CLASSIFIER]}
        category, confidence = model.predict(content)
        return {"category": category, "confidence": round(confidence, 4), "degraded": []}

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "classify":
            said = self._classify(text(payload, "text"))
            return {**said, "category": "unclassified"} if self.defects.strikes("classifier_drifts") else said
        if op == "trust":
            return await self.rpc.call("memory_fusion", "trust", payload, ASK_LIMIT_S)
        if op == "model":
            return self.classifier.told(time.monotonic())
        if op == "add":
            return await self._add(payload)
        if op == "catalog":
            rows = self.db.execute("SELECT category, entries FROM catalog ORDER BY category")
            return {"categories": {row["category"]: row["entries"] for row in rows}}
        raise KernelError(404, "unknown_operation", op=op)

    async def _add(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A piece that is sent again under its own id is the same piece: it is counted once."""
        classified = self._classify(text(payload, "content"))["category"]
        added = await self.rpc.call("memory_fusion", "add", {**payload, "classified": classified}, ASK_LIMIT_S)
        if not added.pop("known"):
            self.db.execute(
                "INSERT INTO catalog VALUES (?, 1) ON CONFLICT (category) DO UPDATE SET entries = entries + 1",
                (added["category"],),
            )
        return added


KERNEL = Librarian
