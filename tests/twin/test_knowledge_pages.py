"""All that memory_fusion knows, page by page: each piece once and numbered, whatever its size, and with its trust."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from pathlib import Path
from typing import Any

import pytest

from twin.config import Config
from twin.kernels import memory_fusion
from twin.kernels.memory_fusion import FIRST, SCHEMA, MemoryFusion
from twin.models.store import write_first
from twin.rpc import KernelError


@pytest.fixture
def kernel(tmp_path: Path) -> MemoryFusion:
    """One that has its models and no process."""
    config = Config(dir=tmp_path)
    write_first(config)
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.row_factory = sqlite3.Row
    db.executescript(SCHEMA)
    one = MemoryFusion(config)
    one.open_db = lambda name, schema: db  # type: ignore[method-assign]
    asyncio.run(one.setup())
    return one


def page(kernel: MemoryFusion, **payload: Any) -> dict[str, Any]:
    return asyncio.run(kernel.handle("list", payload))


def add(kernel: MemoryFusion, content: str) -> None:
    kernel._insert(kernel.db, uuid.uuid4().hex, "platform", content, "handbook", 0.5, [])


def test_each_piece_comes_once_in_its_order(kernel: MemoryFusion) -> None:
    for n in range(7):
        add(kernel, f"sentence {n}")
    found, since = [], 0
    while rows := (told := page(kernel, since=since, limit=4))["knowledge"]:
        assert len(rows) <= 4
        found, since = found + rows, told["next"]
    assert [row["number"] for row in found] == list(range(1, len(FIRST) + 8))
    assert len({row["id"] for row in found}) == len(found) and found[-1]["content"] == "sentence 6"
    assert all(0 < row["trust"] < 1 for row in found)


def test_a_page_has_room_for_so_much_and_never_none_of_it(
    kernel: MemoryFusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_fusion, "RECENT_CHARACTERS_MAX", 50)
    for _ in range(3):
        add(kernel, "x" * 80)
    begin = len(FIRST)
    assert [row["number"] for row in page(kernel, since=begin)["knowledge"]] == [begin + 1], "larger than a page"
    assert page(kernel, since=begin + 3) == {"knowledge": [], "next": begin + 3}


@pytest.mark.parametrize("payload", [{"since": -1}, {"limit": 0}, {"limit": 1001}, {"since": "x"}])
def test_what_is_no_page_is_refused(kernel: MemoryFusion, payload: dict[str, Any]) -> None:
    with pytest.raises(KernelError):
        page(kernel, **payload)
