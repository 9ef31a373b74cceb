"""Log corruption: entries of a log that nobody may change say something else than was written."""

from __future__ import annotations

import hashlib
import random
import re
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from faults.helpers.damaged_files import files_of
from faults.helpers.witness import Ever
from harness.contracts import Hands, Target, TargetError, TargetLacks, Witness
from harness.model import Effect, Hold, Magnitude, Sample, Undo
from harness.primitives.restore_file import given_back
from harness.primitives.restore_rows import OP, Column, opened, replace, restore_rows, values

NAME = re.compile(r"[A-Za-z_]\w*")
READ_MS = 30
DIGITS = "0123456789"


@dataclass(frozen=True, kw_only=True)
class LogCorruption:
    """Changes *column* of *corrupt_entries* rows in the SQLite database at the manifest's path *target*.

    It is written into the log's own file, by a connection of its own, while the target uses it: one digit of each
    value becomes another, or a character is added where it has none. *seed* decides which rows and where. Asked and
    measured is how many entries were changed, as the file itself was read: what somebody has made a third thing of
    counts no more. The target has *duration_seconds* to make all of them what they were, which ends the fault; else
    they are given back, value by value.
    """

    target: str = "immutable_log"
    corrupt_entries: int = 5
    table: str = "entries"
    key: str = "sequence"
    column: str = "payload"
    seed: int = 1
    duration_seconds: float = 60.0

    duration_field: ClassVar[str] = "duration_seconds"
    min_duration_s: ClassVar[float] = 5.0
    target_ends_it: ClassVar[bool] = True

    witness: ClassVar[str] = "the entries themselves, read anew from the log by a process of the harness's own"

    def __post_init__(self) -> None:
        for name in ("table", "key", "column"):
            if not NAME.fullmatch(getattr(self, name)):
                raise ValueError(f"{name}: a name is expected, not {getattr(self, name)!r}")
        for name in ("corrupt_entries", "seed"):
            if not isinstance(getattr(self, name), int):
                raise ValueError(f"{name}: a whole number is expected, not {getattr(self, name)!r}")

    @property
    def subject(self) -> str:
        return self.target

    @property
    def asked(self) -> Magnitude:
        return Magnitude(name="corrupted", value=float(self.corrupt_entries), unit="entries", tolerance=0.0)

    @property
    def where(self) -> Column:
        return Column(table=self.table, key=self.key, column=self.column)

    def prepare(self, target: Target) -> Undo:
        """Touches nothing. Raises TargetLacks for what is no such database, TargetError for a log that is too short."""
        (path,) = files_of(target, self.target, ())
        generator = random.Random(self.seed)
        try:
            with opened(path) as db:
                keys = [row[0] for row in db.execute(f"SELECT {self.key} FROM {self.table} ORDER BY {self.key}")]
                if len(keys) < self.corrupt_entries:
                    raise TargetError(f"{path} has {len(keys)} entries, {self.corrupt_entries} are to be changed")
                chosen = sorted(generator.sample(keys, self.corrupt_entries))
                before = values(db, self.where, chosen)
        except sqlite3.Error as error:
            raise TargetLacks(f"{path} cannot be read as a log with {self.table}.{self.column}: {error}") from None
        if not all(isinstance(one, str) for one in before.values()):
            raise TargetLacks(f"{path}: {self.table}.{self.column} is no text")
        rows = [(key, before[key], changed(before[key], generator)) for key in chosen]
        return Undo(primitives=(restore_rows(path, self.where, rows),))

    def inject(self, target: Target, undo: Undo, hands: Hands) -> Effect:
        one = _primitive(undo)
        path, rows = Path(one["path"]), one["rows"]
        with opened(path) as db:
            done = replace(db, self.where, [(key, before, damaged) for key, before, damaged in rows])
            now = values(db, self.where, [row[0] for row in rows])
        wrong = [str(key) for key, _, damaged in rows if now.get(key) != damaged]
        if done != len(rows) or wrong:
            raise TargetError(f"{done} of {len(rows)} entries were changed; not so: {', '.join(wrong)}")
        told = [{"key": key, "sha256": digest(old), "damaged_sha256": digest(now[key])} for key, old, _ in rows]
        return Effect(facts={"mechanism": "UPDATE", "path": str(path), "column": self.column, "entries": told})

    def start_witness(self, target: Target, undo: Undo, hands: Hands) -> Witness:
        return Ever(lambda: _changed_keys(_primitive(undo)))

    def sample(self, target: Target, undo: Undo, effect: Effect, hands: Hands) -> Sample:
        one = _primitive(undo)
        rows = one["rows"]
        try:
            with opened(Path(one["path"]), READ_MS) as db:
                now = values(db, self.where, [row[0] for row in rows])
        except sqlite3.Error:
            return Sample(achieved=None)  # it is being written: the next look tells
        written = {entry["key"] for entry in effect.facts["entries"]}  # each was read back when it had been changed
        left = [key for key, _, damaged in rows if now.get(key) == damaged]
        mended = [key for key, before, _ in rows if now.get(key) == before and key in written]
        if left:  # an entry that the target has mended already was changed all the same
            return Sample(achieved=float(len({*left, *mended})), detail={"still_damaged": left, "mended": mended})
        if given_back(Path(one["backup"])).exists():
            because = "the entries were given back by this harness before their time"
            return Sample(achieved=None, hold=Hold.LOST, because=because)
        because = f"{len(mended)} of {len(rows)} entries are what they were, and were not restored by this harness"
        return Sample(achieved=None, hold=Hold.TARGET, because=because)


def _changed_keys(one: Mapping[str, Any]) -> set[str] | None:
    """The keys of the entries that say something else than before; None while the log is being written."""
    where = Column(table=one["table"], key=one["key"], column=one["column"])
    before = {int(key): value for key, value, _ in one["rows"]}
    try:
        with opened(Path(one["path"]), READ_MS) as db:
            now = values(db, where, list(before))
    except sqlite3.Error:
        return None
    return {str(key) for key, value in before.items() if now.get(key) != value}


def changed(value: str, generator: random.Random) -> str:
    """*value* with one digit another, or with one more character."""
    places = [number for number, one in enumerate(value) if one in DIGITS]
    if not places:
        return f"{value} "
    place = generator.choice(places)
    return value[:place] + generator.choice(DIGITS.replace(value[place], "")) + value[place + 1 :]


def digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def _primitive(undo: Undo) -> dict[str, Any]:
    return dict(next(one for one in undo.primitives if one["op"] == OP))


FAULT = LogCorruption
