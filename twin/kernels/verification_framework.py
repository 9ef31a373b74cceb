"""verification_framework: says whether content is what its checksum claims."""

from __future__ import annotations

import hashlib
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError


class VerificationFramework(Kernel):
    name = "verification_framework"

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "verify":
            raise KernelError(404, "unknown_operation", op=op)
        digest = hashlib.sha256(text(payload, "content", 100_000).encode()).hexdigest()
        return {"sha256": digest, "matches": digest == text(payload, "sha256", 64, default="")}


KERNEL = VerificationFramework
