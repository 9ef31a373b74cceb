"""The table as Markdown: defects x scenarios, controls, clauses."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.defects.cell import Result, naming, unexpected
from benchmarks.defects.table import CONTROL, DEFECT, HEALTHY, Row, Table
from harness.scenario import shipped, shipped_classic


def as_markdown(table: Table, known: Mapping[str, bool], results: Sequence[Result]) -> str:
    """All that has run so far."""
    defects = [one for one in results if one.cell.kind == DEFECT]
    red = [one for one in defects if not unexpected(one, table.rows)]
    machine = f"{platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    versions = sorted({one.version for one in results if one.version})
    scales = sorted({f"{one.time_scale:g}" for one in results})
    tried = {one.cell.name for one in defects}
    counts = [sum(one in tried and table.rows[one].harness is harness for one in tried) for harness in (False, True)]
    lines = [
        "# Planted defects",
        "",
        "Made by `make defects` (`python -m benchmarks.defects --resume`): each defect in each scenario where it can"
        " strike. A cell is red when the verdict is FAIL (of a defect of the harness: INCONCLUSIVE or FAIL) and a"
        " finding that did not pass names the defect, by its code. Each cell holds the"
        " verdict, the exit code and the findings, whose codes stand below; (+N): N more defects were planted in the"
        " same run, and none of them sets off that check when it is alone. An empty cell has not run, and – is where"
        " the defect cannot strike. What is not as it must be is **bold**.",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {machine}, version {', '.join(versions) or 'unknown'}, time scale"
        f" {', '.join(scales) or 'none'}. {counts[0]} defects of the embedded Grace and {counts[1]} of the harness,"
        f" {len(red)} of {len(defects)} cells red.",
    ]
    scenarios, codes = Legend("s"), Legend("f")
    for title, harness in (("Defects of the embedded Grace", False), ("Defects of the harness", True)):
        rows = [row for row in table.rows.values() if row.harness is harness and row.name in known]
        lines += ["", f"## {title}", "", *_matrix(rows, table, defects, scenarios, codes)]
    lines += ["", "## Scenarios", "", *scenarios.lines(), "", "## Findings", "", *codes.lines()]
    lines += ["", "## Controls", "", *_controls(table, results)]
    lines += ["", "## Clauses", "", *_clauses(table, known, red)]
    waiting = [name for name in table.rows if name not in known]
    lines += ["", f"Rows whose defect is not in the code, and was skipped: {', '.join(waiting)}."] if waiting else []
    return "\n".join(lines) + "\n"


class Legend:
    """Numbers for what stands too long in a cell: scenarios, or codes, in the order in which they were first named."""

    def __init__(self, sign: str) -> None:
        self.sign = sign
        self.names: list[str] = []

    def __call__(self, name: str) -> str:
        if name not in self.names:
            self.names.append(name)
        return f"{self.sign}{self.names.index(name) + 1}"

    def lines(self) -> list[str]:
        return [f"- {self.sign}{number}: `{name}`" for number, name in enumerate(self.names, 1)]


def _matrix(
    rows: Collection[Row], table: Table, results: Sequence[Result], scenarios: Legend, codes: Legend
) -> list[str]:
    shipped_ids = [*shipped(), *shipped_classic()]
    own = [one for row in rows for one in row.strikes if one not in shipped_ids]
    order = [*shipped_ids, *dict.fromkeys(own)]
    columns = [one for one in order if any(one in row.strikes for row in rows)]
    if not columns:
        return ["None is in the code."]
    found = {(one.cell.name, one.cell.scenario): one for one in results}
    heads = " | ".join(scenarios(Path(one).stem) for one in columns)
    lines = [f"| defect | clause | {heads} |", f"|{'---|' * (len(columns) + 2)}"]
    for row in rows:
        mine = (found.get((row.name, one)) if one in row.strikes else "–" for one in columns)
        cells = [one if isinstance(one, str) else _shown(row, table, one, codes) for one in mine]
        lines.append(f"| `{row.name}` | {row.clause} | {' | '.join(cells)} |")
    return lines


def _shown(row: Row, table: Table, result: Result | None, codes: Legend) -> str:
    """ "FAIL 1 f2 f3"; "" for a cell that has not run."""
    if result is None:
        return ""
    why = unexpected(result, table.rows).replace("|", "/").replace("\n", " ")[:200]
    if why:
        return f"**{result.verdict or 'NONE'} {result.exit_code}: {why}**"
    named = " ".join(codes(code) for code in naming(row, result))
    return f"{result.verdict} {result.exit_code} {named}{_company(result)}"


def _company(result: Result) -> str:
    count = len(result.cell.beside)
    return f" (+{count})" if count else ""


def _controls(table: Table, results: Sequence[Result]) -> list[str]:
    lines = []
    for kind, words in ((CONTROL, "control runs, without a fault"), (HEALTHY, "runs with all faults and no defect")):
        mine = [one for one in results if one.cell.kind == kind]
        wrong = [(one, why) for one in mine if (why := unexpected(one, table.rows))]
        lines.append(f"- {len(mine)} {words}: {len(wrong)} false alarms")
        lines += [f"  - **{one.cell.scenario}, seed {one.cell.seed}: {why}**" for one, why in wrong]
    return lines


def _clauses(table: Table, known: Collection[str], red: Sequence[Result]) -> list[str]:
    lines = ["| clause | says | red cells | defects |", "|---|---|---|---|"]
    for clause, text in table.clauses.items():
        rows = [row for row in table.rows.values() if row.clause == clause and row.name in known]
        count = sum(table.rows[one.cell.name].clause == clause for one in red)
        names = ", ".join(f"`{row.name}`" for row in rows) or "none in the code"
        lines.append(f"| {clause} | {text} | {count or '**0**'} | {names} |")
    return lines
