"""The durable queue: order, leases, fencing, and that a broken-off life loses and doubles nothing."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from twin import paging
from twin.htm.queue import SCHEMA, HtmQueue

NOW = 1_700_000_000.0


def opened(path: Path, waiting_max: int = 100) -> HtmQueue:
    db = sqlite3.connect(path, isolation_level=None)
    db.executescript(SCHEMA)
    db.row_factory = sqlite3.Row
    queue = HtmQueue(db, waiting_max, attempts_max=3)
    queue.load(0.0)
    return queue


def row(name: str, priority: int = 5, **body: Any) -> tuple[str, int, str]:
    return name, priority, json.dumps({"intent_id": name, **body})


def taken(queue: HtmQueue, worker: str = "w") -> str:
    piece = queue.take(worker, 0.0)
    return piece["intent_id"] if piece else ""


def executions(queue: HtmQueue) -> dict[str, tuple[str, int]]:
    return {one["intent_id"]: (one["status"], one["executions"]) for one in queue.page(0, 1000)["intents"]}


def test_the_most_urgent_first_and_among_equals_who_came_first(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("a", 1), row("b", 10), row("c", 5), row("d", 10), row("e", 0)], NOW)
    assert [taken(queue) for _ in range(6)] == ["b", "d", "c", "a", "e", ""]


def test_the_same_intent_is_one_and_another_under_its_name_is_refused(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    assert queue.add([row("a"), row("a"), row("a", goal="x"), row("b")], NOW) == (
        ["created", "created", "duplicate", "created"],
        ["a", "b"],
    )
    assert queue.depth == 2
    piece = queue.take("w", 0.0)
    assert piece and queue.finish("w", piece["lease"], "r", NOW) == "a"
    assert queue.add([row("a")], NOW) == (["created"], []), "also when it is finished"
    assert queue.waiting == 1


def test_unchecked_another_under_its_name_is_carried_out_too(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("a")], NOW)
    for _ in range(2):
        piece = queue.take("w", 0.0)
        assert piece
        queue.finish("w", piece["lease"], "r", NOW)
        queue.add([row("a", goal="x")], NOW, again=True)
    assert executions(queue) == {"a": ("completed", 2)}


def test_no_more_than_its_bound_may_wait_and_what_it_knows_is_still_known(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db", waiting_max=2)
    assert queue.add([row("a"), row("b"), row("c"), row("a")], NOW)[0] == ["created", "created", "full", "created"]
    assert taken(queue) == "a"
    assert queue.add([row("c"), row("d")], NOW)[0] == ["created", "full"]


def test_a_completion_under_a_lease_that_is_another_s_is_refused(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("a")], NOW)
    first = queue.take("w1", 0.0)
    assert first and queue.give_back(first["lease"]) == "a" and queue.give_back(first["lease"]) == ""
    second = queue.take("w2", 0.0)
    assert second and second["lease"] != first["lease"]
    assert queue.finish("w1", first["lease"], "r", NOW) == "", "too late"
    assert queue.finish("w1", second["lease"], "r", NOW) == "", "not its lease"
    assert executions(queue) == {"a": ("executing", 0)}
    assert queue.finish("w2", second["lease"], "r", NOW) == "a"
    assert queue.finish("w2", second["lease"], "r", NOW) == "", "twice"
    assert executions(queue) == {"a": ("completed", 1)} and queue.depth == 0


def test_a_new_life_knows_what_waited_and_who_has_what(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("a"), row("b"), row("c", 10)], NOW)
    held = queue.take("w1", 0.0)
    queue.db.close()
    again = opened(tmp_path / "q.db")
    assert held and (again.depth, again.waiting, again.held_by("w1")) == (3, 2, [held["lease"]])
    fresh = again.take("w2", 0.0)
    assert fresh and fresh["lease"] > held["lease"], "a lease is never given twice"
    assert again.finish("w1", held["lease"], "r", NOW) == "c"
    assert executions(again)["c"] == ("completed", 1)


def test_what_is_held_for_too_long_is_found(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("a"), row("b")], NOW)
    early = queue.take("w1", 1.0)
    queue.take("w2", 5.0)
    assert early and queue.overdue(10.9, 10.0) == [] and queue.overdue(11.0, 10.0) == [early["lease"]]


def test_what_is_given_back_again_and_again_waits_behind_what_works(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("bad", 10), row("good", 0)], NOW)
    for expected in ("bad", "bad", "good"):
        piece = queue.take("w", 0.0)
        assert piece and piece["intent_id"] == expected
        queue.give_back(piece["lease"])


def test_only_what_is_charged_three_times_is_given_up(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("bad"), row("other")], NOW)
    assert [queue.charge("bad", "timeout", NOW) for _ in range(3)] == [False, False, True]
    assert executions(queue) == {"bad": ("timeout", 0), "other": ("created", 0)}
    assert taken(queue) == "other" and taken(queue) == ""


def test_what_is_in_memory_can_be_read_again_after_a_failed_transaction(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("a")], NOW)
    queue.db.execute("BEGIN")
    queue.add([row("b")], NOW)
    queue.take("w", 0.0)
    queue.db.execute("ROLLBACK")
    queue.load(0.0)
    assert (queue.waiting, queue.depth) == (1, 1) and taken(queue) == "a"


def test_the_ledger_is_read_page_by_page(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row(f"i{n}") for n in range(5)], NOW)
    seen, cursor = [], 0
    while (page := queue.page(cursor, 2))["intents"]:
        seen += [one["intent_id"] for one in page["intents"]]
        cursor = page["next"]
    assert seen == [f"i{n}" for n in range(5)] and page["next"] == cursor
    first = queue.page(0, 1)["intents"][0]
    assert (first["intent"], first["result"]) == ({"intent_id": "i0"}, None)
    names = ("intent_id", "status", "executions", "priority", "accepted_at", "completed_at", "intent", "result")
    assert set(first) == {*names}


def test_page_ends_early_when_its_intents_are_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_CHARACTERS_MAX", 2_000)
    queue = opened(tmp_path / "q.db")
    queue.add([row(f"i{n}", goal="g" * 900) for n in range(3)] + [row("long", goal="g" * 9_000)], NOW)
    sizes, cursor = [], 0
    while (page := queue.page(cursor, 100))["intents"]:
        sizes.append(len(page["intents"]))
        cursor = page["next"]
    assert sizes == [2, 1, 1], "one that is longer than a page comes alone"


def test_planted_ways_to_lose_and_to_double(tmp_path: Path) -> None:
    queue = opened(tmp_path / "q.db")
    queue.add([row("a"), row("b")], NOW)
    queue.drop("a")
    piece = queue.take("w", 0.0)
    assert piece and piece["intent_id"] == "b" and queue.waiting == 0
    queue.finish("w", piece["lease"], "r", NOW)
    queue.repeat("b")
    piece = queue.take("w", 0.0)
    assert piece
    queue.finish("w", piece["lease"], "r", NOW)
    assert executions(queue) == {"b": ("completed", 2)}
