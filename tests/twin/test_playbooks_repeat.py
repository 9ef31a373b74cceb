"""A pressure that lasts: its playbook is carried out again, until it is undone, also by a kernel that was restarted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from twin.config import Config, Thresholds
from twin.kernels import self_healing
from twin.kernels.self_healing import SCHEMA, SelfHealing


class Bus:
    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    async def publish(self, topic: str, payload: dict[str, Any]) -> None:
        self.told.append((topic, payload))

    def count(self, topic: str) -> int:
        return sum(one == topic for one, _ in self.told)


class Rpc:
    """A gateway that takes every order, and a control plane that tells of *open* incidents."""

    def __init__(self) -> None:
        self.shedding: set[str] = set()
        self.open: list[dict[str, Any]] = []
        self.looks = 0

    async def call(self, kernel: str, op: str, payload: dict[str, Any], timeout_s: float = 2.0) -> dict[str, Any]:
        if (kernel, op) == ("control_plane", "incidents"):
            self.looks += 1
            return {"incidents": self.open}
        (self.shedding.add if payload["on"] else self.shedding.discard)(payload["subject"])
        return {"shedding": sorted(self.shedding)}


def incident(playbook: str = "resource_pressure_cpu") -> dict[str, Any]:
    return {"incident_id": "i", "playbook": playbook, "subject": "cpu", "timestamp": 1.0}


def kernel(folder: Path, db: sqlite3.Connection) -> tuple[SelfHealing, Bus]:
    """One that repeats every 10 ms, on *db*, which outlives it."""
    one, bus = SelfHealing(Config(dir=folder, thresholds=Thresholds(playbook_repeat_s=0.01))), Bus()
    one.bus, one.rpc = bus, Rpc()  # type: ignore[assignment]
    one.open_db = lambda name, schema: db  # type: ignore[method-assign]
    return one, bus


def database() -> sqlite3.Connection:
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.row_factory = sqlite3.Row
    db.executescript(SCHEMA)
    return db


async def until(condition: Any, limit_s: float = 5.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():
            await asyncio.sleep(0.005)


def at_rest(one: SelfHealing) -> bool:
    """Nothing goes on but the look at what is open."""
    return {task.get_coro().__name__ for task in one._tasks} == {"_catch_up"}  # type: ignore[union-attr]


def test_it_repeats_until_it_is_undone(tmp_path: Path) -> None:
    async def story() -> None:
        one, bus = kernel(tmp_path, database())
        await one.setup()
        await one._run(incident())
        await until(lambda: bus.count("playbook.finished") >= 4)
        assert {told["outcome"] for topic, told in bus.told if topic == "playbook.finished"} == {"succeeded"}
        await one._undo(incident())
        done = bus.count("playbook.started")
        await until(lambda: at_rest(one))
        assert bus.count("playbook.started") == done, "none after the undo"

    asyncio.run(story())


def test_a_kernel_that_was_restarted_goes_on_with_it(tmp_path: Path) -> None:
    async def story() -> None:
        db = database()
        db.execute("INSERT INTO runs VALUES ('i', ?, 'succeeded')", (json.dumps(incident()),))
        one, bus = kernel(tmp_path, db)
        await one.setup()
        await until(lambda: bus.count("playbook.finished") >= 2)
        await one._undo(incident())

    asyncio.run(story())


def test_what_must_not_be_done_twice_is_not(tmp_path: Path) -> None:
    async def story() -> None:
        one, bus = kernel(tmp_path, database())
        await one.setup()
        with contextlib.suppress(Exception):
            await one._run(incident("worker_restart"))
        await until(lambda: at_rest(one))
        assert bus.count("playbook.started") == 1

    asyncio.run(story())


def test_an_incident_that_was_announced_while_it_was_away_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped, it never read the message, and its successor never got it: the control plane knows of it."""
    monkeypatch.setattr(self_healing, "CATCH_UP_S", 0.01)

    async def story() -> None:
        one, bus = kernel(tmp_path, database())
        rpc: Any = one.rpc
        other = {**incident("kernel_restart"), "incident_id": "of the control plane itself"}
        rpc.open = [incident(), other]
        await one.setup()
        await until(lambda: bus.count("playbook.finished") >= 2)
        assert {told["incident_id"] for _, told in bus.told if "playbook" in told} == {"i"}
        await one._undo(incident())
        await until(lambda: at_rest(one))
        done, looks = bus.count("playbook.started"), rpc.looks
        await until(lambda: rpc.looks >= looks + 3)  # it is still open there: its end has not been told yet
        assert bus.count("playbook.started") == done, "what is undone is not begun again"

    asyncio.run(story())
