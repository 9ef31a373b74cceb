"""learning_integration: takes feedback, keeps a running mean a topic, and restores a model from its backup."""

from __future__ import annotations

from typing import Any

from twin.fields import number, text
from twin.kernel import Kernel
from twin.models.store import ModelError, restore
from twin.rpc import KernelError

SCHEMA = "CREATE TABLE IF NOT EXISTS feedback (topic TEXT PRIMARY KEY, n INTEGER, total REAL)"


class LearningIntegration(Kernel):
    name = "learning_integration"

    async def setup(self) -> None:
        self.db = self.open_db("learning", SCHEMA)

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "restore_model":
            try:
                return restore(self.config, text(payload, "name", 100))
            except ModelError as error:
                raise KernelError(409, "not_restored", reason=str(error)) from None
        if op != "feedback":
            raise KernelError(404, "unknown_operation", op=op)
        topic, score = text(payload, "topic", 200), number(payload, "score", -1, 1)
        self.db.execute(
            "INSERT INTO feedback VALUES (?, 1, ?) ON CONFLICT (topic) DO UPDATE SET n = n + 1,"
            " total = total + excluded.total",
            (topic, score),
        )
        row = self.db.execute("SELECT n, total FROM feedback WHERE topic = ?", (topic,)).fetchone()
        return {"topic": topic, "n": row["n"], "mean": round(row["total"] / row["n"], 4)}


KERNEL = LearningIntegration
