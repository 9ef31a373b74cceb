"""What is known of a suite: a row a scenario, written after each. The file is the report, and what `--resume` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.model import Verdict, check_fields
from harness.suite_check import Asked, SuiteRefused
from harness.suite_entries import Entry, seed_of
from harness.suite_result import incident_in
from reports.suite_html import suite_html
from reports.suite_junit import suite_junit

SCHEMA = "grace-suite/1"
WAVES = "grace-waves"  # the schemas of harness/wave_state.py
WAITING, RUNNING, ENDED, INTERRUPTED = "waiting", "running", "ended", "interrupted"
NOT_RUN = "not run: the suite was cut off before"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A scenario of the suite and what is known of it. Until it has ended it is INCONCLUSIVE: it shows nothing."""

    scenario_id: str
    name: str
    category: str
    severity: int
    word: str
    seed: int
    expected_s: float
    state: str = WAITING
    verdict: str = Verdict.INCONCLUSIVE.value
    because: str = NOT_RUN
    exit_code: int | None = None  # of its process
    run_folder: str = ""  # below the results
    timeline_head: str = ""  # the last hash of its run's timeline; "" in reports of earlier versions
    log: str = ""
    took_s: float | None = None
    paused_s: float | None = None  # before it
    pause_because: str = ""  # what was still not well after the pause

    @staticmethod
    def of(one: Entry, suite_seed: int) -> Row:
        copied = {key: getattr(one, key) for key in ("scenario_id", "name", "category", "severity", "word")}
        row = Row(**copied, seed=seed_of(suite_seed, one.scenario_id), expected_s=one.expected_s)
        if not one.lacks:
            return row
        return replace(row, state=ENDED, verdict=Verdict.NOT_APPLICABLE.value, because=one.lacks)


@dataclass(frozen=True, kw_only=True)
class State:
    """A suite: what was asked, and its rows. *stamp* names its files."""

    asked: Asked
    stamp: str
    rows: tuple[Row, ...]
    cut: str = ""  # why it ended before all had run

    @property
    def verdict(self) -> Verdict:
        return Verdict.worst([Verdict(row.verdict) for row in self.rows])

    @property
    def finished(self) -> bool:
        return all(row.state == ENDED for row in self.rows)

    def with_row(self, number: int, **changed: Any) -> State:
        rows = list(self.rows)
        rows[number] = replace(rows[number], **changed)
        return replace(self, rows=tuple(rows))

    @property
    def file(self) -> Path:
        return self.asked.out / f"chaos_report_{self.stamp}.json"

    def report(self) -> dict[str, Any]:
        """The suite report, as the users of the document know it, and what only ours has."""
        counts = {one: sum(row.verdict == one.value for row in self.rows) for one in Verdict}
        total = len(self.rows)
        return {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "total_scenarios": total,
            "passed": counts[Verdict.PASS],
            "failed": counts[Verdict.FAIL],
            "inconclusive": counts[Verdict.INCONCLUSIVE],
            "not_applicable": counts[Verdict.NOT_APPLICABLE],
            "success_rate": 100.0 * counts[Verdict.PASS] / total if total else 0.0,
            "verdict": self.verdict.value,
            "exit_code": self.verdict.exit_code,
            "finished": self.finished,
            "cut": self.cut,
            "seed": self.asked.seed,
            "time_scale": self.asked.time_scale,
            "results_dir": str(self.asked.out),
            "report_file": str(self.file),
            "incidents": [self._incident(row) for row in self.rows if row.state in (ENDED, INTERRUPTED)],
            "scenarios": [asdict(row) for row in self.rows],
            "asked": self.asked.to_json(),
            "schema": SCHEMA,
        }

    def _incident(self, row: Row) -> dict[str, Any]:
        """incident.json, with the suite's own verdict where the two differ."""
        found = incident_in(self.asked.out / row.run_folder) if row.run_folder else {}
        if not found:
            kept = ("scenario_id", "name", "category", "severity", "seed")
            found = {"incident_id": None, **{key: getattr(row, key) for key in kept}}
        success = row.verdict == Verdict.PASS.value
        code = Verdict(row.verdict).exit_code
        return {**found, "verdict": row.verdict, "success": success, "exit_code": code, "because": row.because}

    def write(self) -> dict[str, Any]:
        """The report's three files; each is whole at any time. The report."""
        report = self.report()
        self.asked.out.mkdir(parents=True, exist_ok=True)
        write_pages(self.file, report)
        _write(self.file, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
        return report


def write_pages(file: Path, report: Mapping[str, Any]) -> Path:
    """What people and build servers read of the report *file*; the page."""
    _write(file.with_suffix(".junit.xml"), suite_junit(report))
    return _write(file.with_suffix(".html"), suite_html(report))


def _write(path: Path, content: str) -> Path:
    beside = path.with_name(path.name + ".part")
    beside.write_text(content, encoding="utf-8")
    beside.replace(path)
    return path


def begin(asked: Asked, found: Sequence[Entry]) -> State:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return State(asked=asked, stamp=stamp, rows=tuple(Row.of(one, asked.seed) for one in found))


def read_state(path: Path) -> State:
    """From a report's JSON file, or from the newest in a folder that is not finished. Raises SuiteRefused."""
    if path.is_dir():
        found = [state for one in sorted(path.glob("chaos_report_*.json")) if (state := _readable(one))]
        if not found:
            raise SuiteRefused(f"{path}: it holds no suite report")
        open_ones = [state for state in found if not state.finished]
        if not open_ones:
            raise SuiteRefused(f"{path}: every suite in it has finished; the newest is {found[-1].file.name}")
        return open_ones[-1]
    return _read(path)


def _readable(path: Path) -> State | None:
    try:
        return _read(path)
    except SuiteRefused:
        return None


def _read(path: Path) -> State:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if str(data.get("schema")).startswith(WAVES):
            raise ValueError("it is of a test run in waves, which is begun anew: grace-chaos waves")
        if data.get("schema") != SCHEMA:
            raise ValueError(f"its schema is {data.get('schema')!r}, not {SCHEMA!r}")
        asked = replace(Asked.from_json(data["asked"]), out=path.resolve().parent)  # it may have been moved
        rows = tuple(row_of(one) for one in data["scenarios"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise SuiteRefused(f"{path}: not a suite report: {error}") from None
    stamp = path.name.removeprefix("chaos_report_").removesuffix(".json")
    return State(asked=asked, stamp=stamp, rows=rows, cut=str(data.get("cut", "")))


def row_of(data: Mapping[str, Any]) -> Row:
    known = {one.name for one in fields(Row)}
    row = Row(**{key: value for key, value in data.items() if key in known})
    check_fields(row)
    Verdict(row.verdict)
    return row
