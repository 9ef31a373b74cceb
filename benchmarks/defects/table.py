"""Reader of table.yaml: which defect is tried where, and what must name it."""

from __future__ import annotations

import importlib
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from harness.scenario import shipped, shipped_classic
from twin.defects import DEFECTS

PATH = Path(__file__).with_name("table.yaml")
ROOT = PATH.parents[2]
EVERY = "every"
FAST_TARGET, FAST_HARNESS = 3, 1  # cells of the fast part
DEFECT, CONTROL, HEALTHY = "defect", "control", "healthy"


class TableError(Exception):
    """Something in table.yaml that cannot be; the text says what."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One defect. *strikes* holds scenario ids, the first to be tried first."""

    name: str
    clause: str
    strikes: tuple[str, ...]
    expect: tuple[str, ...]  # prefixes of finding codes
    harness: bool = False
    options: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run: a defect in a scenario, a control run, or a healthy one."""

    kind: str
    name: str  # of the defect; "" without one
    scenario: str
    seed: int
    harness: bool = False
    options: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()  # other defects of the same run

    @property
    def names(self) -> tuple[str, ...]:
        """All defects of the run."""
        return (self.name, *self.beside) if self.name else ()

    @property
    def place(self) -> str:
        """The scenario as a word: of a file its stem."""
        return Path(self.scenario).stem

    def __str__(self) -> str:
        return f"{', '.join(self.names) or self.kind} in {self.place}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """All of table.yaml, its groups resolved."""

    clauses: Mapping[str, str]
    rows: Mapping[str, Row]
    controls: tuple[str, ...]
    fast: tuple[str, ...]


def load(path: Path = PATH) -> Table:
    """Raises TableError with all that is wrong, a line each."""
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    scenarios = [*shipped(), *shipped_classic()]
    groups = {**data["groups"], EVERY: scenarios}
    problems: list[str] = []
    rows = {name: _row(name, one, groups, problems) for name, one in data["defects"].items()}
    for row in rows.values():
        if row.clause not in data["clauses"]:
            problems.append(f"{row.name}: no clause is called {row.clause!r}")
        if not row.strikes or not row.expect:
            problems.append(f"{row.name}: strikes and expect need at least one word each")
    named = {*data["controls"], *data["fast"], *(one for row in rows.values() for one in row.strikes)}
    strange = [one for one in sorted(named - set(scenarios)) if not (ROOT / one).is_file()]
    problems += [f"no scenario is called {one!r}" for one in strange]
    used = {row.clause for row in rows.values()}
    problems += [f"clause {clause} has no defect" for clause in data["clauses"] if clause not in used]
    if problems:
        raise TableError("\n".join(problems))
    return Table(clauses=data["clauses"], rows=rows, controls=tuple(data["controls"]), fast=tuple(data["fast"]))


def _row(name: str, data: Mapping[str, Any], groups: Mapping[str, Sequence[str]], problems: list[str]) -> Row:
    known = {one.name for one in fields(Row)} - {"name"}
    problems += [f"{name}: no key is called {key!r}" for key in data if key not in known]
    scenarios = [scenario for word in data.get("strikes", ()) for scenario in groups.get(word, (word,))]
    return Row(
        name=name,
        clause=str(data.get("clause", "")),
        strikes=tuple(dict.fromkeys(scenarios)),
        expect=tuple(data.get("expect", ())),
        harness=bool(data.get("harness", False)),
        options=tuple(str(word) for word in data.get("options", ())),
    )


def known_defects() -> dict[str, bool]:
    """{defect that is in the code: whether it is one of the harness}."""
    found = dict.fromkeys(DEFECTS, False)
    try:
        broken = importlib.import_module("benchmarks.defects.broken")
    except ModuleNotFoundError as error:
        if error.name != "benchmarks.defects.broken":
            raise
        return found
    return {**found, **dict.fromkeys(broken.DEFECTS, True)}


def missing_rows(table: Table, known: Mapping[str, bool]) -> list[str]:
    """Defects in the code that have no row, or one that says `harness` wrongly."""
    return [name for name, harness in known.items() if name not in table.rows or table.rows[name].harness != harness]


def cells(
    table: Table,
    known: Collection[str],
    *,
    only: Collection[str] = (),
    scenarios: Collection[str] = (),
    controls: int = 0,
    seed: int = 7,
    first: bool = False,
) -> list[Cell]:
    """All cells in order: each defect where it is tried first, then controls, then each defect everywhere else."""
    rows = [row for row in table.rows.values() if row.name in known and (not only or row.name in only)]
    pairs = [(row, [one for one in row.strikes if not scenarios or one in scenarios]) for row in rows]
    firsts = [_cell(row, strikes[0], seed) for row, strikes in pairs if strikes]
    rest = [] if first else [_cell(row, one, seed) for row, strikes in pairs for one in strikes[1:]]
    return [*firsts, *_controls(table, controls, seed, scenarios), *rest]


def fast_cells(table: Table, known: Mapping[str, bool], seed: int) -> list[Cell]:
    """A few cells, drawn by *seed*, of scenarios that are over soon."""
    chance = random.Random(seed)
    found: list[Cell] = []
    for harness, count in ((False, FAST_TARGET), (True, FAST_HARNESS)):
        rows = [row for row in table.rows.values() if known.get(row.name) is harness]
        some = [_cell(row, row.strikes[0], seed) for row in rows if row.strikes[0] in table.fast]
        found += chance.sample(some, min(count, len(some)))
    return found


def _cell(row: Row, scenario: str, seed: int) -> Cell:
    return Cell(kind=DEFECT, name=row.name, scenario=scenario, seed=seed, harness=row.harness, options=row.options)


def _controls(table: Table, count: int, seed: int, scenarios: Collection[str]) -> list[Cell]:
    """*count* control runs and *count* healthy ones, over the scenarios in turn, each round with another seed."""
    names = [one for one in table.controls if not scenarios or one in scenarios]
    found = []
    for number in range(count if names else 0):
        scenario, own_seed = names[number % len(names)], seed + number // len(names)
        found += [Cell(kind=kind, name="", scenario=scenario, seed=own_seed) for kind in (CONTROL, HEALTHY)]
    return found
