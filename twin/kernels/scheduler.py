"""scheduler: takes intents into a durable queue, hands them to its workers, and sees that each is carried out once."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from twin.commit import GroupCommit
from twin.defects import Defects
from twin.htm import WORKERS
from twin.htm.crew import Crew
from twin.htm.queue import SCHEMA, HtmQueue
from twin.htm.spoil import spoil
from twin.incidents import SCHEMA as INCIDENTS_SCHEMA
from twin.incidents import Incidents
from twin.kernel import Kernel
from twin.paging import cursor
from twin.rpc import KernelError
from twin.safeguards.intent_validator import IntentValidator
from twin.safeguards.queue_pressure_monitor import QueuePressureMonitor
from twin.safeguards.thread_timeout import ThreadTimeout
from twin.safeguards.worker_watchdog import WorkerLife, WorkerWatchdog

LOOK_EVERY_S = 0.25
AWAY_S = 1.0  # between two looks: then this kernel was stopped or starved, and knows nothing of the time between
BEATS_WITHIN_S = 1.5
AGAIN_AFTER_S = 10.0  # a restart that has not helped by then is asked for anew
PAGE_MAX = 1000


class Scheduler(Kernel):
    name = "scheduler"

    async def setup(self) -> None:
        thresholds = self.config.thresholds
        db = self.open_db("htm", f"{SCHEMA} {INCIDENTS_SCHEMA}")
        self.queue = HtmQueue(db, thresholds.queue_waiting_max, thresholds.work_attempts_max)
        self.queue.load(time.monotonic())
        self.defects = Defects(self.config.defects)
        self.crew = Crew(WORKERS, self.queue, GroupCommit(db), self.defects)
        self.crew.on_progress, self.crew.on_timeout = self._progress, self._timed_out
        self.pressure, self.watchdog = QueuePressureMonitor(thresholds), WorkerWatchdog(thresholds, self.config.defects)
        names = (self.pressure.name, self.watchdog.name, ThreadTimeout.name)
        self.incidents = {name: Incidents(self, name, db) for name in names}
        self.pressure.engaged = bool(self.incidents[self.pressure.name].open)
        self.deepest = self.queue.depth
        self.unchecked = not self.config.enabled(IntentValidator.name)
        self.spawn(self._watch())

    # Requests

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op.startswith("worker."):
            return await self.crew.handle(op.removeprefix("worker."), payload)
        if op == "submit":
            rows = [tuple(row) for row in payload["intents"]]
            return {"words": await self.crew.write(lambda: self._submit(rows))}
        if op == "status":
            found = self.queue.status(payload["intent_id"])
            if found is None:
                raise KernelError(404, "unknown_intent", intent_id=payload["intent_id"])
            return found
        if op == "list":
            limit = max(1, min(PAGE_MAX, int(payload.get("limit", PAGE_MAX))))
            return self.queue.page(cursor(self.queue.db, "htm", "seq", payload), limit)
        if op == "queue":
            return {"depth": self.queue.depth, "executing": len(self.queue.leases), "workers": self.crew.told()}
        raise KernelError(404, "unknown_operation", op=op)

    def _submit(self, rows: list[Any]) -> list[str]:
        """An intent that is sent again is the same intent."""
        words, fresh = self.queue.add(rows, time.time(), again=self.unchecked)
        for intent_id in fresh:
            spoil(self.queue, self.defects, intent_id, time.time())
        self.deepest = max(self.deepest, self.queue.depth)
        return words

    # Safeguards

    async def _watch(self) -> None:
        looked_s = time.monotonic()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = time.monotonic()
            if now_s - looked_s > AWAY_S:
                self.crew.forgive(now_s - looked_s)
            looked_s = now_s
            await self.crew.look(now_s, self.config.thresholds.work_lease_s)
            if self.config.enabled(self.pressure.name):
                await self._pressure(now_s)
            if self.config.enabled(self.watchdog.name):
                await self._workers(now_s)
            for life in self.crew.lives.values():
                if now_s - life.last_beat_s < BEATS_WITHIN_S and not self.queue.held_by(life.name):
                    self._release(life, "it is idle and beats", replaced=True)

    async def _pressure(self, now_s: float) -> None:
        depth, deepest, self.deepest = self.queue.depth, self.deepest, self.queue.depth
        change = self.pressure.tick(now_s, depth, max(depth, deepest))
        incidents = self.incidents[self.pressure.name]
        if change is not None and change.engaged:
            await incidents.engage(self.pressure.subject, self.pressure.playbook, change.reason, change.details)
        elif change is not None:
            incidents.release(self.pressure.subject, change.reason, change.details)

    async def _workers(self, now_s: float) -> None:
        incidents = self.incidents[self.watchdog.name]
        for one in self.watchdog.tick(now_s, list(self.crew.lives.values())):
            known = incidents.open.get(one.worker)
            if known is None:
                await incidents.engage(one.worker, self.watchdog.playbook, one.reason, one.details)
            elif time.time() - known["timestamp"] >= AGAIN_AFTER_S:
                incidents.release(one.worker, "the restart did not help", {})

    def _timed_out(self, life: WorkerLife, ran_s: float) -> None:
        incidents = self.incidents[ThreadTimeout.name]
        if life.name not in incidents.open:
            limit_s = self.config.thresholds.work_limit_s
            details = {"pid": life.pid, "ran_s": ran_s, "limit_s": limit_s, "timed_out": life.timed_out}
            reason = f"a piece of work ran for {ran_s:.1f} s, {limit_s:g} s are allowed"
            self.spawn(incidents.engage(life.name, ThreadTimeout.playbook, reason, details))

    def _progress(self, life: WorkerLife) -> None:
        self._release(life, "it completes work again", replaced=False)

    def _release(self, life: WorkerLife, reason: str, replaced: bool) -> None:
        """Closes what is open about a worker; *replaced*: only when another process has taken its place."""
        for name in (self.watchdog.name, ThreadTimeout.name):
            incident = self.incidents[name].open.get(life.name)
            if incident is not None and (not replaced or life.pid not in (0, incident["details"]["pid"])):
                self.incidents[name].release(life.name, reason, {"pid": life.pid, "completed": life.completed})


KERNEL = Scheduler
