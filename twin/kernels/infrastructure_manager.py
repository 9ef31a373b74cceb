"""infrastructure_manager: knows the machine, and keeps snapshots of the platform's state and its approved settings."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from typing import Any

from twin import settings, snapshots
from twin.defects import Defects
from twin.incidents import SCHEMA, Incidents
from twin.kernel import Kernel
from twin.rpc import KernelError, KernelTimeout, KernelUnavailable
from twin.safeguards.config_drift_guard import ConfigDriftGuard
from twin.safeguards.snapshot_hygiene_manager import SnapshotHygieneManager
from twin.settings import LiveSettings, SettingsError
from twin.wholeness import watch

AGAIN_AFTER_S = 1.0  # a snapshot that could not be taken


class InfrastructureManager(Kernel):
    name = "infrastructure_manager"

    async def setup(self) -> None:
        self.settings = LiveSettings(self.config)
        self.defects = Defects(self.config.defects)
        self.dropping = False
        self.taken: dict[str, Any] = {}
        self.why_not = ""
        self.busy = asyncio.Lock()
        db = self.open_db("infrastructure_manager", SCHEMA)
        for guard in (SnapshotHygieneManager(self.config), ConfigDriftGuard(self.config)):
            if self.config.enabled(guard.name):
                self.spawn(watch(self, guard, Incidents(self, guard.name, db)))
        self.spawn(self._snapshots())

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "regenerate":
            return await self._regenerate()
        if op == "restore_config":
            try:
                return settings.restore(self.config)
            except SettingsError as error:
                raise KernelError(409, "not_restored", reason=str(error)) from None
        if op != "describe":
            raise KernelError(404, "unknown_operation", op=op)
        disk = shutil.disk_usage(self.config.dir)
        every_s = self.settings.get(time.monotonic()).snapshots_every_s
        return {
            "cores": os.cpu_count(),
            "load": os.getloadavg(),
            "disk_free_bytes": disk.free,
            "snapshot": {**self.taken, "every_s": every_s, "problem": self.why_not},
        }

    async def _snapshots(self) -> None:
        """Now and then; one that is damaged is not written over, so that it is seen, whoever looks."""
        while True:
            self.why_not = snapshots.trouble(self.config.state_snapshot)
            if self.why_not:
                self.log.error("the snapshot of the state is damaged: %s", self.why_not)
            else:
                try:
                    await self._take()
                except (OSError, KernelTimeout, KernelUnavailable, KernelError) as error:
                    self.why_not = f"{type(error).__name__}: {error}"
                    self.log.warning("no snapshot was taken: %s", self.why_not)
            every_s = self.settings.get(time.monotonic()).snapshots_every_s
            await asyncio.sleep(AGAIN_AFTER_S if self.why_not else every_s)

    async def _take(self) -> None:
        """From what the kernels hold now."""
        async with self.busy:
            index = await self.rpc.call("memory_fusion", "index", {})
            rules = await self.rpc.call("governance", "rules", {})
            if self.dropping:
                rules["rules"]["risk"].pop("delete", None)
            values = {"memory_index": index["index"], "governance_rules": rules["rules"]}
            self.taken = {**snapshots.take(self.config, values), "taken_at": time.time()}

    async def _regenerate(self) -> dict[str, Any]:
        self.dropping = "snapshot_drops_key" in self.defects.planted
        try:
            await self._take()
        except OSError as error:
            raise KernelError(409, "not_taken", reason=str(error)) from None
        both = (self.config.state_snapshot, snapshots.backup_of(self.config))
        return {**self.taken, "trouble": "; ".join(filter(None, map(snapshots.trouble, both)))}


KERNEL = InfrastructureManager
