"""log_corruption: stored entries really hold something else, the log is in use all the while, and each comes back."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from faults.log_corruption import LogCorruption, changed
from harness.catalog import CatalogError, build_fault
from harness.contracts import TargetError, TargetLacks
from harness.guardian_link import GuardianLink
from harness.model import Hold
from harness.target import load_target
from harness.undo import heal
from tests.contract.resources import Force, Place, bring
from tests.processes import twin, wait_for

FAULT = LogCorruption(corrupt_entries=5, duration_seconds=60)
GUARD = "log_integrity_monitor"


def rows(path: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("SELECT * FROM entries ORDER BY sequence").fetchall()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A log of nine entries that somebody holds open, as its owner does."""
    path = tmp_path / "target" / "log.db"
    path.parent.mkdir()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("CREATE TABLE entries (sequence INTEGER PRIMARY KEY, payload TEXT)")
    db.executemany("INSERT INTO entries VALUES (?, ?)", [(n, f'{{"risk": 0.{n}}}') for n in range(1, 10)])
    yield Place(paths={"root": path.parent, "immutable_log": path})
    db.close()


def now(place: Place) -> list[tuple[Any, ...]]:
    return rows(place.paths["immutable_log"])


def test_five_entries_are_others_and_come_back_value_by_value(place: Place, link: GuardianLink) -> None:
    before = now(place)
    force = bring(FAULT, place, link)
    damaged = now(place)
    assert sum(old != new for old, new in zip(before, damaged, strict=True)) == 5
    assert (force.sample().achieved, force.sample().hold) == (5.0, Hold.HOLDS)
    force.heal_twice()
    assert now(place) == before
    assert force.sample().hold is Hold.LOST, "the harness's own doing is no witness for the target"


def test_who_makes_them_what_they_were_has_ended_it(place: Place, link: GuardianLink) -> None:
    before = now(place)
    force = bring(FAULT, place, link)
    with contextlib.closing(sqlite3.connect(place.paths["immutable_log"])) as db, db:
        db.executemany("UPDATE entries SET payload = ? WHERE sequence = ?", [(row[1], row[0]) for row in before])
        db.execute("INSERT INTO entries VALUES (10, 'new')")
    sample = force.sample()
    assert sample.hold is Hold.TARGET and "5 of 5 entries are what they were" in sample.because
    force.heal_twice()
    assert now(place) == [*before, (10, "new")]


def test_what_somebody_else_made_of_an_entry_is_left_alone(place: Place, link: GuardianLink) -> None:
    force = bring(FAULT, place, link)
    key = force.effect.facts["entries"][0]["key"]
    with contextlib.closing(sqlite3.connect(place.paths["immutable_log"])) as db, db:
        db.execute("UPDATE entries SET payload = 'theirs' WHERE sequence = ?", (key,))
    sample = force.sample()
    assert len(sample.detail["still_damaged"]) == 4
    assert sample.achieved == 4.0 < FAULT.asked.floor, "and it is not counted as one that this fault has changed"
    force.heal_twice()
    assert dict(now(place))[key] == "theirs"


def test_what_the_target_has_mended_already_was_changed_all_the_same(place: Place, link: GuardianLink) -> None:
    before = dict(now(place))
    force = bring(FAULT, place, link)
    key = force.effect.facts["entries"][0]["key"]
    with contextlib.closing(sqlite3.connect(place.paths["immutable_log"])) as db, db:
        db.execute("UPDATE entries SET payload = ? WHERE sequence = ?", (before[key], key))
    sample = force.sample()
    assert (sample.achieved, sample.hold, sample.detail["mended"]) == (5.0, Hold.HOLDS, [key])
    force.heal_twice()


def test_an_entry_that_was_never_written_is_not_counted(place: Place, link: GuardianLink) -> None:
    """By the file: the row holds what it always held, and nobody saw it otherwise."""
    force = bring(FAULT, place, link)
    first, *others = force.effect.facts["entries"]
    old = next(row[1] for row in force.undo.primitives[0]["rows"] if row[0] == first["key"])
    with contextlib.closing(sqlite3.connect(place.paths["immutable_log"])) as db, db:
        db.execute("UPDATE entries SET payload = ? WHERE sequence = ?", (old, first["key"]))
    short = replace(force, effect=replace(force.effect, facts={**force.effect.facts, "entries": others}))
    assert short.sample().achieved == 4.0 < FAULT.asked.floor
    force.heal_twice()


def test_a_log_that_changed_since_it_was_looked_at_is_not_touched(place: Place, link: GuardianLink) -> None:
    undo = link.arm("f", FAULT.prepare(place), 60)  # type: ignore[arg-type]
    key = undo.primitives[0]["rows"][0][0]
    with contextlib.closing(sqlite3.connect(place.paths["immutable_log"])) as db, db:
        db.execute("UPDATE entries SET payload = 'theirs' WHERE sequence = ?", (key,))
    with pytest.raises(TargetError, match="4 of 5 entries were changed; not so: "):
        FAULT.inject(place, undo, link.hands("f"))  # type: ignore[arg-type]
    assert all(one["verified"] for one in heal(undo, False))
    assert sum(one == "theirs" for _, one in now(place)) == 1 and FAULT.prepare(place)  # type: ignore[arg-type]


def test_a_log_that_is_gone_needs_no_healing(place: Place, link: GuardianLink) -> None:
    force = bring(FAULT, place, link)
    place.paths["immutable_log"].rename(place.paths["immutable_log"].with_name("away"))
    assert force.sample().achieved is None
    force.heal_twice()


def test_what_is_no_such_log_is_not_applicable(place: Place, tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="has 9 entries, 10 are to be changed"):
        replace(FAULT, corrupt_entries=10).prepare(place)  # type: ignore[arg-type]
    with pytest.raises(TargetLacks, match=r"cannot be read as a log with entries\.words: no such column"):
        replace(FAULT, column="words").prepare(place)  # type: ignore[arg-type]
    with pytest.raises(TargetLacks, match=r"entries\.sequence is no text"):
        replace(FAULT, column="sequence").prepare(place)  # type: ignore[arg-type]
    with pytest.raises(TargetLacks, match="the target has no path 'immutable_log'"):
        FAULT.prepare(Place(paths={"root": tmp_path}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"table": "x; DROP"}, "table: a name is expected, not 'x; DROP'"),
        ({"corrupt_entries": 1.5}, r"corrupt_entries: a whole number is expected, not 1\.5"),
        ({"entries": 5}, "no parameter 'entries'"),
    ],
)
def test_what_cannot_be_is_refused_in_words(values: dict[str, object], words: str) -> None:
    with pytest.raises(CatalogError, match=words):
        build_fault("log_corruption", values)


def test_a_value_is_always_another() -> None:
    import random

    for value in ("{}", "", "7", '{"a": 19}'):
        assert all(changed(value, random.Random(seed)) != value for seed in range(20))


def decide(base_url: str, count: int) -> None:
    for number in range(count):
        asked = {"actor": "ann", "action": "read", "resource": f"page{number}", "payload": {"number": number}}
        with urlopen(Request(f"{base_url}/api/governance/check", json.dumps(asked).encode()), timeout=5) as answer:
            answer.read()


def hurt(folder: Path, link: GuardianLink) -> tuple[Force, Path, list[tuple[Any, ...]]]:
    target = load_target(folder / "target.yaml")
    decide(target.base_url, 20)
    path = target.paths["immutable_log"]
    copy = folder / ".grace_snapshots" / "log" / "immutable_log_copy.db"
    wait_for(lambda: len(rows(path)) >= 20, 5.0, "twenty entries")
    wait_for(lambda: not copy.exists() or len(rows(copy)) >= 20, 5.0, "that they are copied")
    before = rows(path)
    return bring(replace(FAULT, seed=3), target, link), path, before


@pytest.mark.slow
def test_a_twin_sees_it_and_restores_it_and_without_the_safeguard_it_does_not(
    tmp_path: Path, link: GuardianLink
) -> None:
    with twin(tmp_path / "with"):
        force, path, before = hurt(tmp_path / "with", link)
        assert force.sample().achieved == 5.0
        wait_for(lambda: force.sample().hold is Hold.TARGET, 10.0, "the target's own mending")
        assert rows(path)[: len(before)] == before
        force.heal_twice()
    with twin(tmp_path / "without", off=GUARD):
        second = GuardianLink(tmp_path / "without", "log-without")
        force, path, before = hurt(tmp_path / "without", second)
        decide(force.target.base_url, 5)
        wait_for(lambda: len(rows(path)) >= len(before) + 5, 5.0, "that it is still written")
        assert (force.sample().achieved, force.sample().hold) == (5.0, Hold.HOLDS)
        force.heal_twice()
        assert rows(path)[: len(before)] == before
        second.close()
