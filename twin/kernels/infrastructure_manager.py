"""infrastructure_manager: knows the machine, and keeps snapshots of the platform's state with a backup."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import time
from typing import Any

from twin.kernel import Kernel
from twin.rpc import KernelError

SNAPSHOT_EVERY_S = 60.0


class InfrastructureManager(Kernel):
    name = "infrastructure_manager"

    async def setup(self) -> None:
        self.spawn(self._snapshots())

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op != "describe":
            raise KernelError(404, "unknown_operation", op=op)
        disk = shutil.disk_usage(self.config.dir)
        return {
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "disk_free_bytes": disk.free,
            "snapshot": self.snapshot,
        }

    async def _snapshots(self) -> None:
        while True:
            self.snapshot = self._take()
            await asyncio.sleep(SNAPSHOT_EVERY_S)

    def _take(self) -> dict[str, Any]:
        """state.json with a checksum over its keys; the one before it stays as state.backup.json."""
        folder = self.config.snapshot_dir / "state"
        folder.mkdir(parents=True, exist_ok=True)
        keys = {
            "memory_index": {"database": "knowledge.db"},
            "governance_rules": {"version": 1},
            "taken_at": time.time(),
        }
        digest = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()
        path, backup, fresh = (folder / name for name in ("state.json", "state.backup.json", "state.new"))
        fresh.write_text(json.dumps({"keys": keys, "sha256": digest}, indent=1))
        if path.exists():
            shutil.copy2(path, backup)
        fresh.replace(path)
        if not backup.exists():
            shutil.copy2(path, backup)
        return {"taken_at": keys["taken_at"], "sha256": digest}


KERNEL = InfrastructureManager
