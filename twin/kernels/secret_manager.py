"""secret_manager: holds the platform's signing key and signs with it; the key itself never leaves."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import Any

from twin.fields import text
from twin.kernel import Kernel
from twin.rpc import KernelError


class SecretManager(Kernel):
    name = "secret_manager"

    async def setup(self) -> None:
        path = self.config.state_dir / "signing.key"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(descriptor, os.urandom(32))
            os.close(descriptor)
        self.key = path.read_bytes()

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "sign":
            raise KernelError(404, "unknown_operation", op=op)
        message = text(payload, "message", 10_000)
        return {"signature": hmac.new(self.key, message.encode(), hashlib.sha256).hexdigest()}


KERNEL = SecretManager
