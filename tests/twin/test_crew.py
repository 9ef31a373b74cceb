"""What the scheduler and meta_loop keep right when a worker's connection breaks or a transaction fails."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from twin.commit import GroupCommit
from twin.config import Config, Thresholds
from twin.defects import Defects
from twin.htm.crew import Crew
from twin.htm.queue import SCHEMA, HtmQueue
from twin.kernels.meta_loop import MetaLoop
from twin.rpc import KernelError

ME = {"worker": "w", "pid": 7}


def crew_of(path: Path) -> Crew:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(SCHEMA)
    db.row_factory = sqlite3.Row
    queue = HtmQueue(db, 100, attempts_max=3)
    queue.load(0.0)
    return Crew(("w",), queue, GroupCommit(db), Defects(()))


async def add(crew: Crew, name: str) -> None:
    await crew.write(lambda: crew.queue.add([(name, 5, json.dumps({"intent_id": name}))], 0.0))


async def say(crew: Crew, op: str, **more: Any) -> dict[str, Any]:
    return await crew.handle(op, {**ME, **more})


def test_a_question_of_a_broken_connection_takes_nothing_from_the_new_one(tmp_path: Path) -> None:
    async def story() -> None:
        crew = crew_of(tmp_path / "q.db")
        await say(crew, "hello", lease=0)
        stale = asyncio.create_task(say(crew, "next", done=None))  # waits: there is no work yet
        await asyncio.sleep(0)
        await say(crew, "hello", lease=0)  # the worker has hung up meanwhile, and is here again
        await add(crew, "a")
        await add(crew, "b")
        piece = (await say(crew, "next", done=None))["piece"]
        assert (await stale)["piece"] is None, "nobody hears that answer"
        assert crew.queue.held_by("w") == [piece["lease"]] and crew.queue.waiting == 1
        done = {"lease": piece["lease"], "failed": "", "result": "r"}
        following = (await say(crew, "next", done=done))["piece"]
        assert {piece["intent_id"], following["intent_id"]} == {"a", "b"} and crew.lives["w"].completed == 1

    asyncio.run(story())


def test_what_was_done_counts_also_when_the_connection_broke_while_it_was_told(tmp_path: Path) -> None:
    async def story() -> None:
        crew = crew_of(tmp_path / "q.db")
        await say(crew, "hello", lease=0)
        await add(crew, "a")
        await add(crew, "b")
        piece = (await say(crew, "next", done=None))["piece"]
        done = {"lease": piece["lease"], "failed": "", "result": "r"}
        stale = asyncio.create_task(say(crew, "next", done=done))
        await asyncio.sleep(0)
        await say(crew, "hello", lease=piece["lease"])
        again = (await say(crew, "next", done=done))["piece"]
        assert (await stale)["piece"] is None and again["intent_id"] == "b"
        life = crew.lives["w"]
        assert (life.completed, crew.queue.held_by("w")) == (1, [again["lease"]]) and life.busy_since_s is not None

    asyncio.run(story())


class FullDisk:
    """A database whose transactions cannot be committed while *full*."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.full = True

    def execute(self, sql: str, values: Any = ()) -> Any:
        if sql == "COMMIT" and self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return self.db.execute(sql, values)

    @property
    def in_transaction(self) -> bool:
        return self.db.in_transaction


def test_a_retrospective_that_was_not_written_down_takes_up_no_room(tmp_path: Path) -> None:
    async def story() -> None:
        config = Config(dir=tmp_path, thresholds=Thresholds(retro_queue_max=2))
        config.state_dir.mkdir(parents=True)
        loop = MetaLoop(config)
        await loop.setup()
        disk: Any = FullDisk(loop.db)
        loop.commits = GroupCommit(disk)
        for n in range(5):
            with pytest.raises(sqlite3.OperationalError):
                await loop.handle("retrospective", {"subject": "s", "events": ["a"], "retro_id": f"r{n}"})
        assert await loop.handle("queue", {}) == {"depth": 0, "bound": 2, "refused": 0}
        disk.full = False
        sent = [loop.handle("retrospective", {"subject": "s", "retro_id": f"q{n}"}) for n in range(3)]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        assert [isinstance(one, KernelError) for one in answers] == [False, False, True]
        assert (await loop.handle("queue", {}))["refused"] == 1

    asyncio.run(story())
