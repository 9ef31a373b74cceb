"""Runs that several defects share, so that the whole table takes hours and not a day.

Only defects that were named when they were tried alone share a run, and only where each is named by a code that no
other of them has set off in any of its runs. When a later run shows such a code of another, the shared run counts no
longer. What a shared run does not name is tried alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from benchmarks.defects.cell import UNSTEADY, Result, naming, unexpected
from benchmarks.defects.table import Cell, Row
from harness import catalog

TOGETHER_MAX = 8
Codes = Mapping[str, frozenset[str]]  # by defect, the codes of all that its runs have said


def codes_of(results: Iterable[Result]) -> dict[str, frozenset[str]]:
    """Codes of what was said in all runs of each defect; of a shared run, those that are the defect's own."""
    found: dict[str, frozenset[str]] = {}
    for result in results:
        if result.cell.name:
            mine = frozenset(code for code, _ in result.findings)
            found[result.cell.name] = found.get(result.cell.name, frozenset()) | mine
    return found


def own(
    names: Sequence[str], alone: Mapping[str, Result], rows: Mapping[str, Row], known: Codes
) -> dict[str, frozenset[str]]:
    """{defect: codes that name it and that no other of *names* has set off}.

    Only codes of checks that each scenario claims: another one may not be asked elsewhere.
    """
    everywhere = tuple(f"{check}." for check in catalog.invariants())
    named = {name: {one for one in naming(rows[name], alone[name]) if one.startswith(everywhere)} for name in names}
    return {name: frozenset(named[name]).difference(*(known[one] for one in names if one != name)) for name in names}


def shared(cells: Sequence[Cell], alone: Mapping[str, Result], rows: Mapping[str, Row], known: Codes) -> list[Cell]:
    """*cells*, each of one defect, put together where that tells as much; *alone*: by defect, as it must be."""
    groups: list[list[Cell]] = []
    for cell in cells:
        fitting = (group for group in groups if _fits(cell, group, alone, rows, known))
        group = next(fitting, None)
        if group is None:
            groups.append([cell])
        else:
            group.append(cell)
    return [replace(first, beside=tuple(one.name for one in others)) for first, *others in groups]


def _fits(
    cell: Cell, group: Sequence[Cell], alone: Mapping[str, Result], rows: Mapping[str, Row], known: Codes
) -> bool:
    first, names = group[0], [*(one.name for one in group), cell.name]
    same = (cell.scenario, cell.seed, cell.harness, cell.options) == (
        first.scenario,
        first.seed,
        first.harness,
        first.options,
    )
    if not same or len(names) > TOGETHER_MAX or any(name not in alone for name in names):
        return False
    return all(own(names, alone, rows, known).values())


def apart(result: Result, known: Codes) -> list[Result]:
    """A result for each defect of a shared run, without the codes that the others have set off."""
    names = (result.cell.name, *result.cell.beside)
    found = []
    for name in names:
        others = tuple(one for one in names if one != name)
        theirs = frozenset[str]().union(*(known[one] for one in others))
        left = tuple(one for one in result.findings if one[0] not in theirs or one[0] == UNSTEADY)
        cell = replace(result.cell, name=name, beside=others)
        found.append(replace(result, cell=cell, findings=left))
    return found


def doubtful(results: Sequence[Result], rows: Mapping[str, Row]) -> list[Result]:
    """Results of shared runs that name their defect no longer, now that more is known of the others of the run."""
    known = codes_of(results)
    found = []
    for result in results:
        if result.cell.beside and not unexpected(result, rows):
            theirs = frozenset[str]().union(*(known.get(one, frozenset()) for one in result.cell.beside))
            if theirs.issuperset(naming(rows[result.cell.name], result)):
                found.append(result)
    return found
