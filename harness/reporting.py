"""A judged run as files: findings.json and the text of each reporter, computed in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import catalog
from harness.judge import judge
from harness.model import Finding, Verdict, overall
from harness.record import Record

VERSION = "0.1.0"  # of the harness: reports of another version are not compared byte for byte
FINDINGS = "findings.json"
WRITTEN = "every report is written"


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a run folder shows, and the files that say so: name → text."""

    record: Record
    findings: tuple[Finding, ...]
    verdict: Verdict
    files: dict[str, str]


def judged(folder: Path) -> Judged:
    """Judges *folder* and renders its reports; writes nothing. Raises OSError or ValueError for what is no run.

    A reporter that crashes is a finding of its own, INCONCLUSIVE; the other reports show it.
    """
    record = Record.load(folder)
    findings = judge(record)
    files, crashed = _rendered(record, findings)
    if crashed:
        findings = [*findings, *crashed]
        files, _ = _rendered(record, findings)
    files[FINDINGS] = json.dumps([_row(one) for one in findings], indent=1, ensure_ascii=False) + "\n"
    return Judged(record=record, findings=tuple(findings), verdict=overall(findings), files=files)


def _row(one: Finding) -> dict[str, Any]:
    row = asdict(one)
    return row if one.also else {name: value for name, value in row.items() if name != "also"}


def _rendered(record: Record, findings: Sequence[Finding]) -> tuple[dict[str, str], list[Finding]]:
    """(file name → text of each reporter that gives one, a finding for each that does not)."""
    files, crashed = {}, []
    for name, kind in catalog.reporters().items():
        try:
            text = kind().render(record, findings)
            if not isinstance(text, str):
                raise TypeError(f"a text is expected, not {type(text).__name__}")
            text.encode()
            files[str(kind.filename)] = text
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # also SystemExit: a reporter never ends the run
            crashed.append(_crashed(record, name, error))
    return files, crashed


def _crashed(record: Record, name: str, error: BaseException) -> Finding:
    return Finding(
        check="reports",
        verdict=Verdict.INCONCLUSIVE,
        claim=WRITTEN,
        because=f"the reporter {name} crashed: {type(error).__name__}: {error}",
        group="validity",
        evidence=(record.looked("timeline"),),
        code="reports.crashed",
    )


def write_reports(folder: Path) -> Judged:
    """judged(), and writes its files into *folder*."""
    found = judged(folder)
    for name, text in found.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return found
