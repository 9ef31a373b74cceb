"""The scheduler's side of the workers: who is there, who gets which intent, and what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from twin.commit import GroupCommit
from twin.defects import Defects
from twin.htm.queue import HtmQueue
from twin.htm.spoil import CANNED
from twin.rpc import KernelError
from twin.safeguards.worker_watchdog import WorkerLife

WAIT_S = 1.0  # how long a worker's question for work is kept open
T = TypeVar("T")


class Crew:
    """Answers hello, next, beat and timed_out of the workers.

    on_progress is told when a worker has completed something, on_timeout when its work took too long.
    """

    def __init__(self, names: tuple[str, ...], queue: HtmQueue, commits: GroupCommit, defects: Defects) -> None:
        now_s = time.monotonic()
        self.lives = {name: WorkerLife(name, last_beat_s=now_s) for name in names}
        self.queue = queue
        self.commits = commits
        self.defects = defects
        self.arrived = asyncio.Event()
        self.on_progress: Callable[[WorkerLife], None] = lambda life: None
        self.on_timeout: Callable[[WorkerLife, float], None] = lambda life, ran_s: None
        self._suspects: dict[str, str] = {}  # worker → the intent that it has just failed at; "": several

    async def write(self, work: Callable[[], T]) -> T:
        """*work* in a transaction of the queue. When it fails, what is in memory is read again from the disk."""
        try:
            result: T = await self.commits.write(lambda db: work())
        except (sqlite3.Error, ArithmeticError, LookupError, TypeError, ValueError):
            self.queue.load(time.monotonic())
            raise
        if self.queue.waiting:
            self.arrived.set()
        return result

    async def handle(self, op: str, payload: dict[str, Any]) -> dict[str, Any]:
        if op == "hello":
            return await self._hello(payload)
        life = self.lives.get(payload["worker"])
        if life is None or life.pid != payload["pid"]:
            raise KernelError(409, "hello_expected", worker=payload["worker"])
        life.last_beat_s = time.monotonic()
        if op == "beat":
            return {}
        if op == "next":
            return await self._next(life, payload.get("done"))
        if op == "timed_out":
            return await self._timed_out(life, payload["lease"], payload["ran_s"])
        raise KernelError(404, "unknown_operation", op=op)

    async def _hello(self, payload: dict[str, Any]) -> dict[str, Any]:
        """A worker's connection: what it does not hold (any more) waits again."""
        name = payload["worker"]
        if name not in self.lives:
            raise KernelError(404, "unknown_worker", worker=name)
        known = self.lives[name]
        if known.pid != payload["pid"]:
            self.lives[name] = WorkerLife(name, payload["pid"], completed=known.completed, timed_out=known.timed_out)
            self._suspects.pop(name, None)
        self.lives[name].last_beat_s = time.monotonic()
        self.lives[name].hellos += 1
        await self.write(lambda: self._take_away(name, payload["lease"]))
        return {}

    def _take_away(self, worker: str, but: int = 0) -> None:
        for number in self.queue.held_by(worker):
            if number != but:
                self.queue.give_back(number)

    async def _next(self, life: WorkerLife, done: dict[str, Any] | None) -> dict[str, Any]:
        """What it has done is written down and new work is given out in one transaction."""
        hellos = life.hellos
        deadline_s = time.monotonic() + WAIT_S
        while True:
            if done is not None or self.queue.waiting:
                step = partial(self._step, life, done, hellos)
                completed, piece = await self.write(step)
                self._note(life, completed, bool(self.queue.held_by(life.name)))
                done = None
                if piece is not None:
                    return {"piece": piece}
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not self._asks(life, hellos):
                return {"piece": None}
            if not self.queue.waiting:
                self.arrived.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self.arrived.wait()

    def _asks(self, life: WorkerLife, hellos: int) -> bool:
        """Whether it still waits for an answer over the connection that it had after so many hellos."""
        return self.lives[life.name] is life and life.hellos == hellos and not life.gone

    def _step(self, life: WorkerLife, done: dict[str, Any] | None, hellos: int) -> tuple[str, dict[str, Any] | None]:
        """(the intent that is completed by this or "", the next piece of work)."""
        completed = ""
        if done is not None and done["failed"]:
            self._suspect(life, self.queue.give_back(done["lease"]))
        elif done is not None:
            result = CANNED if "result_canned" in self.defects.planted else done["result"]
            completed = self.queue.finish(life.name, done["lease"], result, time.time())
        if completed:
            self._clear(life, completed)
        if not self._asks(life, hellos):
            return completed, None  # what it holds by now, it has been given over its new connection
        self._take_away(life.name)  # whatever else was given to it, it is not at it
        return completed, self.queue.take(life.name, time.monotonic())

    def _note(self, life: WorkerLife, completed: str, works: bool) -> None:
        now_s = time.monotonic()
        if completed:
            life.completed, life.timeouts_in_row, life.busy_since_s = life.completed + 1, 0, None
            self.on_progress(life)
        if works and life.busy_since_s is None:
            life.busy_since_s = now_s
        elif not works:
            life.busy_since_s = None

    def _suspect(self, life: WorkerLife, intent_id: str) -> None:
        """Worker or intent? The worker's next piece of work tells: when that fails too, it is the worker."""
        self._suspects[life.name] = "" if life.name in self._suspects else intent_id

    def _clear(self, life: WorkerLife, completed: str) -> None:
        """The worker is sound, so what it failed at just before was the intent's own doing."""
        suspect = self._suspects.pop(life.name, None)
        if suspect and suspect != completed:
            self.queue.charge(suspect, "timeout", time.time())
        if self.defects.strikes("intent_doubled"):
            self.queue.repeat(completed)

    async def _timed_out(self, life: WorkerLife, lease: int, ran_s: float) -> dict[str, Any]:
        intent_id = await self.write(lambda: self.queue.give_back(lease))
        if intent_id:
            self._suspect(life, intent_id)
            life.timeouts_in_row += 1
            life.timed_out += 1
            self.on_timeout(replace(life), ran_s)
        return {}

    async def look(self, now_s: float, lease_s: float) -> None:
        """Takes away what a dead worker holds, and what anybody has held for too long."""
        for life in list(self.lives.values()):
            if life.pid and not life.gone and not _lives(life.pid):
                life.gone = True
                await self.write(lambda name=life.name: self._take_away(name))  # type: ignore[misc]
        late = self.queue.overdue(now_s, lease_s)
        if late:
            await self.write(lambda: [self.queue.give_back(number) for number in late])

    def forgive(self, lag_s: float) -> None:
        """The scheduler itself was away for so long: what it did not hear then is held against nobody."""
        for life in self.lives.values():
            life.last_beat_s += lag_s
            if life.busy_since_s is not None:
                life.busy_since_s += lag_s

    def told(self) -> dict[str, dict[str, Any]]:
        """The workers, for whoever asks."""
        return {
            life.name: {
                "pid": life.pid,
                "holds": len(self.queue.held_by(life.name)),
                "completed": life.completed,
                "timed_out": life.timed_out,
            }
            for life in self.lives.values()
        }


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
