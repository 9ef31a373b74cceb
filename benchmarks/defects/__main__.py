"""Defect x scenario -> verdict and the finding that names it: `python -m benchmarks.defects [--resume] [--first]`.

Each cell is one headless run. Results are JSON lines in the state file, the table is written after each of them. Exit
code 0: every cell is as it must be; 1: one is green or wrongly named, or a control run is a false alarm; 2: usage;
3: something was left behind, and nothing more was run; 130: interrupted, `--resume` goes on.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # before anything else is imported, so that a crash never ends with 1
    from harness.entry import guarded

    sys.exit(guarded("benchmarks.defects.__main__"))

import argparse
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType

from benchmarks.defects import cell as cells
from benchmarks.defects import report, sharing
from benchmarks.defects import table as tables
from harness.catalog import nearest

RESULTS = cells.ROOT / "docs" / "results" / "defects.md"
STATE = Path("logs/defects.jsonl")
KEEP = Path("logs/defects")
LIMIT_S = 900.0
SEED = 7


def main() -> int:
    options = _options()
    table = tables.load()
    known = tables.known_defects()
    scenarios = {one for row in table.rows.values() for one in row.strikes}
    for name, choices in [*((one, known) for one in options.only), *((one, scenarios) for one in options.scenarios)]:
        if name not in choices:
            print(f"unknown: {name!r}.{nearest(name, choices)}", file=sys.stderr)
            return 2
    planned = _planned(options, table, known)
    done = _done(options.state)
    if done and not options.resume:
        print(f"{options.state} holds {len(done)} runs: --resume goes on with them; else remove it", file=sys.stderr)
        return 2
    if skipped := [name for name in table.rows if name not in known and not options.only]:
        print(f"not in the code, skipped: {', '.join(skipped)}", flush=True)
    signal.signal(signal.SIGTERM, _interrupted)
    if options.again:
        done = {key: one for key, one in done.items() if not cells.unexpected(one, table.rows)}
    try:
        return _run(options, table, known, planned, done)
    except KeyboardInterrupt:
        print(f"interrupted; --resume --state {options.state} goes on", file=sys.stderr)
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.defects", description=__doc__)
    parser.add_argument("--only", type=_words, default=[], metavar="NAME,...", help="of these defects alone")
    parser.add_argument("--scenarios", type=_words, default=[], metavar="ID,...", help="in these scenarios alone")
    parser.add_argument("--first", action="store_true", help="each defect only in the first of its scenarios")
    parser.add_argument("--fast", action="store_true", help="a few cells, drawn by the seed")
    parser.add_argument("--controls", type=int, default=0, metavar="N", help="N control and N healthy runs besides")
    parser.add_argument("--time-scale", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help="for one run")
    parser.add_argument("--resume", action="store_true", help="go on with the runs of the state file")
    parser.add_argument("--again", action="store_true", help="run again what was not as it must be")
    parser.add_argument("--state", type=Path, default=STATE, help="results as JSON lines")
    parser.add_argument("--keep", type=Path, default=KEEP, help="run folders of cells that are not as they must be")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the table")
    return parser.parse_args()


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _planned(options: argparse.Namespace, table: tables.Table, known: dict[str, bool]) -> list[tables.Cell]:
    if options.fast:
        return tables.fast_cells(table, known, options.seed)
    return tables.cells(
        table,
        known,
        only=options.only,
        scenarios=options.scenarios,
        controls=options.controls,
        seed=options.seed,
        first=options.first,
    )


def _done(state: Path) -> dict[tuple[object, ...], cells.Result]:
    """Finished runs by key, the last of each; a line that an interrupt tore is left out."""
    if not state.exists():
        return {}
    lines = state.read_text(encoding="utf-8").split("\n")[:-1]
    return {one.key: one for one in map(cells.Result.from_json, filter(None, lines))}


def _alone(table: tables.Table, done: dict[tuple[object, ...], cells.Result]) -> dict[str, cells.Result]:
    """By defect a run of it alone that is as it must be."""
    mine = [one for one in done.values() if one.cell.name and not one.cell.beside]
    return {one.cell.name: one for one in mine if not cells.unexpected(one, table.rows)}


def _next(
    todo: Sequence[tables.Cell],
    tried_together: set[tuple[object, ...]],
    alone: dict[str, cells.Result],
    table: tables.Table,
    time_scale: float,
    known: sharing.Codes,
) -> tables.Cell:
    """The first cell to run, with those of the same scenario that may share its run."""
    first = todo[0]
    if cells.key_of(first, time_scale) in tried_together or first.name not in alone:
        return first
    fitting = [one for one in todo if cells.key_of(one, time_scale) not in tried_together and one.name in alone]
    return sharing.shared(fitting, alone, table.rows, known)[0]


def _to_do(
    planned: Sequence[tables.Cell],
    done: dict[tuple[object, ...], cells.Result],
    table: tables.Table,
    time_scale: float,
) -> list[tables.Cell]:
    """What was not run yet, or in a run that it shared with a defect which sets off the same code."""
    for one in sharing.doubtful(list(done.values()), table.rows):
        del done[one.key]
    return [one for one in planned if cells.key_of(one, time_scale) not in done]


def _tell(result: cells.Result, table: tables.Table) -> None:
    cell = result.cell
    why = cells.unexpected(result, table.rows)
    named = ", ".join(cells.naming(table.rows[cell.name], result)) if cell.name else ""
    end = "" if not why else "  <<< tried alone next" if cell.beside else "  <<< NOT AS IT MUST BE"
    what = f"{cell.name}: " if cell.beside else ""
    told = f"{result.verdict or 'NONE'} {result.exit_code} {why or named or 'as it must be'}"
    print(f"    {what}{told} ({result.took_s:.0f} s){end}", flush=True)


def _run(
    options: argparse.Namespace,
    table: tables.Table,
    known: dict[str, bool],
    planned: Sequence[tables.Cell],
    done: dict[tuple[object, ...], cells.Result],
) -> int:
    """Run what is planned and not done yet; the table shows all that the state file holds."""
    for path in (options.state, options.out):
        path.parent.mkdir(parents=True, exist_ok=True)
    cells.drop_torn_line(options.state)
    tried_together: set[tuple[object, ...]] = set()
    ran = list(done.values())
    while todo := _to_do(planned, done, table, options.time_scale):
        codes = sharing.codes_of(ran)
        one = _next(todo, tried_together, _alone(table, done), table, options.time_scale, codes)
        print(f"[{len(planned) - len(todo) + 1}/{len(planned)}] {one} ...", flush=True)
        result = cells.run(one, options.time_scale, options.keep.resolve(), options.limit, table.rows)
        parts = [result]
        if one.beside:
            tried_together |= {cells.key_of(replace(one, name=name), options.time_scale) for name in one.names}
            parts = sharing.apart(result, codes)
        for part in parts:
            _tell(part, table)
            if one.beside and cells.unexpected(part, table.rows) and not part.left:
                continue  # it is tried alone
            with options.state.open("a", encoding="utf-8") as file:
                file.write(part.to_json() + "\n")
            done[cells.key_of(part.cell, options.time_scale)] = part
            ran.append(part)
        options.out.write_text(report.as_markdown(table, known, list(done.values())), encoding="utf-8")
        if result.left:
            print("something was left behind; nothing more is run", file=sys.stderr)
            return 3
    options.out.write_text(report.as_markdown(table, known, list(done.values())), encoding="utf-8")
    mine = [done[cells.key_of(one, options.time_scale)] for one in planned]
    wrong = [one for one in mine if cells.unexpected(one, table.rows)]
    print(f"{len(mine) - len(wrong)} of {len(mine)} runs as they must be; the table is {options.out}")
    return 1 if wrong or not mine else 0
