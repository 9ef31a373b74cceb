"""What a scenario's process has left → its verdict. The run folder is judged again; what it says of itself must agree.

A process that was killed, left no folder, or says another thing than its folder is INCONCLUSIVE, never passed.
"""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.judge import judge, verdict
from harness.model import Finding, Verdict
from harness.plan import plan_from_json
from harness.record import Record


@dataclass(frozen=True, kw_only=True)
class Result:
    verdict: Verdict
    because: str
    folder: Path | None = None
    head: str = ""  # of the timeline's chain


def folders_of(out: Path, scenario_id: str) -> set[Path]:
    return {path.parent for path in (out / scenario_id).glob("*/plan.json")}


def result(fresh: set[Path], scenario_id: str, seed: int, code: int, said: str) -> Result:
    """*fresh*: the run folders that were not there before; one must be of this scenario and this seed."""
    mine = [folder for folder in sorted(fresh) if is_of(folder, scenario_id, seed)]
    how = f"killed by {_signal(-code)}" if code < 0 else f"exit code {code}"
    if len(mine) != 1:
        what = f"{len(mine)} run folders" if mine else "no run folder"
        return Result(verdict=Verdict.INCONCLUSIVE, because=f"it left {what} ({how}); it said: {said}")
    folder = mine[0]
    if not (folder / "incident.json").exists():
        why = f"it ended before its verdict ({how}); it said: {said}"
        return Result(verdict=Verdict.INCONCLUSIVE, because=why, folder=folder)
    judged = judged_again(folder)
    if code == judged.verdict.exit_code:
        return judged
    why = f"its end ({how}) does not agree with its run folder ({judged.verdict.value}: {judged.because})"
    return Result(verdict=Verdict.INCONCLUSIVE, because=why, folder=folder, head=judged.head)


def judged_again(folder: Path) -> Result:
    """The verdict of a run folder, from its record alone."""
    try:
        record = Record.load(folder)
        findings = judge(record)
    except (Exception, SystemExit) as error:  # whatever is wrong with it: it shows nothing
        why = f"its run folder cannot be judged: {type(error).__name__}: {error}"
        return Result(verdict=Verdict.INCONCLUSIVE, because=why, folder=folder)
    answer = verdict(findings)
    return Result(verdict=answer, because=because(findings, answer), folder=folder, head=record.head)


def because(findings: list[Finding], answer: Verdict) -> str:
    """The first finding that decides, what invalidates a run before what follows from it, and how many more."""
    mine = [one for one in findings if one.verdict is answer]
    if answer is Verdict.PASS:
        return f"{len(mine)} claims were shown"
    if not mine:
        return "nothing of Grace was judged"
    mine.sort(key=lambda one: one.group != "validity" if answer is Verdict.INCONCLUSIVE else 0)
    more = f" (and {len(mine) - 1} more)" if len(mine) > 1 else ""
    return f"{mine[0].claim}: {mine[0].because}{more}"


def incident_in(folder: Path) -> dict[str, Any]:
    """incident.json of a run; {} where there is none."""
    try:
        found = json.loads((folder / "incident.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_of(folder: Path, scenario_id: str, seed: int) -> bool:
    """Whether a run folder is of this scenario and this seed, by its plan."""
    try:
        plan = plan_from_json((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return (plan.scenario_id, plan.seed) == (scenario_id, seed)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
