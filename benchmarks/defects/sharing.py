"""Runs that several defects share, so that the whole table takes hours and not a day.

Only defects that were named when they were tried alone share a run, and only where each is named by a check that no
other of the run sets off alone: of one check, elsewhere the codes may be others. What a shared run does not name is
tried alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.defects.cell import Result, naming
from benchmarks.defects.table import Cell, Row
from harness import catalog

TOGETHER_MAX = 8


def check_of(code: str) -> str:
    return code.partition(".")[0]


def checks(result: Result) -> frozenset[str]:
    """All that said something against the target or the run."""
    return frozenset(check_of(code) for code, _ in result.findings)


def own(names: Sequence[str], alone: Mapping[str, Result], rows: Mapping[str, Row]) -> dict[str, frozenset[str]]:
    """{defect: the checks that name it and that no other of *names* set off when it was tried alone}.

    Only checks that each scenario claims: another one may not be asked elsewhere.
    """
    of_all = frozenset(catalog.invariants())
    named = {name: of_all & {check_of(code) for code in naming(rows[name], alone[name])} for name in names}
    return {name: named[name].difference(*(checks(alone[one]) for one in names if one != name)) for name in names}


def shared(cells: Sequence[Cell], alone: Mapping[str, Result], rows: Mapping[str, Row]) -> list[Cell]:
    """*cells*, each of one defect, put together where that tells as much; *alone*: by defect, as it must be."""
    groups: list[list[Cell]] = []
    for cell in cells:
        fitting = (group for group in groups if _fits(cell, group, alone, rows))
        group = next(fitting, None)
        if group is None:
            groups.append([cell])
        else:
            group.append(cell)
    return [replace(first, beside=tuple(one.name for one in others)) for first, *others in groups]


def _fits(cell: Cell, group: Sequence[Cell], alone: Mapping[str, Result], rows: Mapping[str, Row]) -> bool:
    first, names = group[0], [*(one.name for one in group), cell.name]
    same = (cell.scenario, cell.seed, cell.harness, cell.options) == (
        first.scenario,
        first.seed,
        first.harness,
        first.options,
    )
    if not same or len(names) > TOGETHER_MAX or any(name not in alone for name in names):
        return False
    return all(own(names, alone, rows).values())


def apart(result: Result, alone: Mapping[str, Result], rows: Mapping[str, Row]) -> list[Result]:
    """A result for each defect of a shared run, without what comes from checks that the others set off alone."""
    names = (result.cell.name, *result.cell.beside)
    found = []
    for name in names:
        others = tuple(one for one in names if one != name)
        theirs = frozenset().union(*(checks(alone[one]) for one in others))
        left = tuple(one for one in result.findings if check_of(one[0]) not in theirs)
        cell = replace(result.cell, name=name, beside=others)
        found.append(replace(result, cell=cell, findings=left))
    return found
