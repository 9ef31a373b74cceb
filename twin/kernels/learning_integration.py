"""learning_integration: learns from feedback and from failures, and restores a model from its backup."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from twin.config import PLAYBOOKS
from twin.fields import number, text
from twin.incidents import SCHEMA as INCIDENTS_SCHEMA
from twin.incidents import Incidents
from twin.kernel import Kernel
from twin.log_tail import LogTail
from twin.models import TRUST
from twin.models.store import ModelError, restore, swap
from twin.rpc import KernelError
from twin.safeguards.error_recognition_system import ErrorRecognitionSystem
from twin.signatures import SCHEMA as SIGNATURES_SCHEMA
from twin.signatures import Signatures

LOOK_EVERY_S = 0.25
LEARNABLE = tuple(name for name in PLAYBOOKS if name != "kernel_restart")  # which the control plane starts by itself
SCHEMA = "CREATE TABLE IF NOT EXISTS feedback (topic TEXT PRIMARY KEY, n INTEGER, total REAL)"


class LearningIntegration(Kernel):
    name = "learning_integration"
    subscriptions = ("event.incident", "playbook.finished")
    errors: ErrorRecognitionSystem | None = None

    async def setup(self) -> None:
        self.db = self.open_db("learning", f"{SCHEMA}; {INCIDENTS_SCHEMA}; {SIGNATURES_SCHEMA}")
        self.signatures = Signatures(self.db)
        errors = ErrorRecognitionSystem(self.signatures, LEARNABLE)
        if self.config.enabled(errors.name):
            incidents = Incidents(self, errors.name, self.db)
            errors.engaged |= dict.fromkeys(incidents.open, time.monotonic())
            self.errors = errors
            self.spawn(self._recognise(errors, incidents, LogTail(self.config.log_dir)))

    async def _recognise(self, errors: ErrorRecognitionSystem, incidents: Incidents, logs: LogTail) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = time.monotonic()
            for one in errors.take(now_s, time.time(), logs.read()):
                await self.bus.publish("event.error.learned", {"signature": one.shape, "subject": one.subject})
            for step in errors.tick(now_s):
                if step.engaged:
                    await incidents.engage(step.subject, step.playbook, step.reason, {})
                else:
                    incidents.release(step.subject, step.reason, {})

    async def on_message(self, message: dict[str, Any]) -> None:
        if self.errors is None:
            return
        if message["topic"] == "event.incident":
            self.errors.incident(time.monotonic(), message["payload"])
        elif message["topic"] == "playbook.finished":
            self.errors.mended(time.monotonic(), message["payload"])

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "errors":
            return {"signatures": self.signatures.told()}
        if op == "restore_model":
            try:
                name = text(payload, "name", 100)
                if name == TRUST and "model_swapped" in self.config.defects:
                    swap(self.config)
                return restore(self.config, name)
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
