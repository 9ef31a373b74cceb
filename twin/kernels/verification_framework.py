"""verification_framework: says whether content is what its checksum claims, and keeps an eye on the models."""

from __future__ import annotations

import hashlib
from typing import Any

from twin.fields import text
from twin.incidents import SCHEMA, Incidents
from twin.kernel import Kernel
from twin.rpc import KernelError
from twin.safeguards.model_integrity_check import ModelIntegrityCheck
from twin.wholeness import watch


class VerificationFramework(Kernel):
    name = "verification_framework"

    async def setup(self) -> None:
        models = ModelIntegrityCheck(self.config)
        incidents = Incidents(self, models.name, self.open_db("verification_framework", SCHEMA))
        if self.config.enabled(models.name):
            self.spawn(watch(self, models, incidents))

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "verify":
            raise KernelError(404, "unknown_operation", op=op)
        digest = hashlib.sha256(text(payload, "content", 100_000).encode()).hexdigest()
        return {"sha256": digest, "matches": digest == text(payload, "sha256", 64, default="")}


KERNEL = VerificationFramework
