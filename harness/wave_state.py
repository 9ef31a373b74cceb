"""What is known of a test run in waves: a row a scenario, a row a wave, what was escalated. The file is the report."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.model import Finding, Verdict
from harness.suite_state import ENDED, Row, State
from harness.wave_shares import Share

SCHEMA = "grace-waves/1"
NAMES = {"dump/before": "control_plane_before", "dump/after": "control_plane_after", "dump/stacks": "stacks"}


@dataclass(frozen=True, kw_only=True)
class WaveRow:
    """A wave and what became of it; until it has run it shows nothing."""

    number: int
    severity: int
    scenarios: tuple[str, ...]
    apart: Mapping[str, str]
    scenario_id: str  # of its run folder
    seed: int
    plan: str  # in words, as it is printed before the wave begins
    expected_s: float
    state: str = "waiting"
    verdict: str = Verdict.INCONCLUSIVE.value
    steady_before: str = ""  # what was not well before it; "" for nothing
    paused_s: float | None = None
    took_s: float | None = None
    exit_code: int | None = None
    run_folder: str = ""


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """Why a test run did not go on to what is more severe, or would not have."""

    wave: int
    scenario_id: str
    incident_id: str
    verdict: str
    claim: str
    because: str
    evidence: tuple[str, ...]
    stopped: tuple[str, ...]  # the scenarios that were not run for it
    at: str


@dataclass(frozen=True, kw_only=True)
class WaveState(State):
    """A suite whose rows are run several at a time."""

    waves: tuple[WaveRow, ...] = ()
    escalations: tuple[Escalation, ...] = ()

    def report(self) -> dict[str, Any]:
        own = {"waves": [asdict(one) for one in self.waves], "escalations": [asdict(one) for one in self.escalations]}
        told: dict[str, Any] = json.loads(json.dumps(own))  # as the file has it
        return {**super().report(), **told, "schema": SCHEMA}

    def _incident(self, row: Row) -> dict[str, Any]:
        """The scenario's own, not that of the whole wave."""
        base = super()._incident(replace(row, run_folder=""))
        path = self.asked.out / incident_id(row) / "incident.json"
        if not row.run_folder or not path.exists():
            return base
        found = json.loads(path.read_text(encoding="utf-8"))
        kept = ("verdict", "success", "exit_code", "because")
        return {**base, **found, **{key: base[key] for key in kept}}

    def row_number(self, scenario_id: str) -> int:
        return next(number for number, row in enumerate(self.rows) if row.scenario_id == scenario_id)

    def with_wave(self, number: int, **changed: Any) -> WaveState:
        waves = tuple(replace(one, **changed) if one.number == number else one for one in self.waves)
        return replace(self, waves=waves)

    def with_scenarios(self, ids: tuple[str, ...], **changed: Any) -> WaveState:
        rows = tuple(replace(row, **changed) if row.scenario_id in ids else row for row in self.rows)
        return replace(self, rows=rows)


def incident_id(row: Row) -> str:
    """As the incident of a run of this scenario alone would be called."""
    return f"chaos_{row.scenario_id}_{Path(row.run_folder).name}"


def escalated(row: Row, wave: int, stopped: tuple[str, ...], why: Finding) -> Escalation:
    """*why*: the first finding that failed of a share, or what was found after the wave."""
    return Escalation(
        wave=wave,
        scenario_id=row.scenario_id,
        incident_id=incident_id(row),
        verdict=why.verdict.value,
        claim=why.claim,
        because=why.because,
        evidence=why.evidence,
        stopped=stopped,
        at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )


def failed(share: Share) -> Finding:
    """The finding that decides a share that is FAIL."""
    ours = (one for one in share.findings if one.verdict is Verdict.FAIL)
    return next(ours, Finding(check="", verdict=Verdict.FAIL, claim="the wave as a whole", because=share.because))


def leave_incident(out: Path, row: Row, share: Share, scenario: Path) -> Path:
    """DIR of one incident: what it was, what was asked, logs, the control plane before and after, stacks.

    What several scenarios of a wave share is one file on the disk.
    """
    place, run = out / incident_id(row), out / row.run_folder
    place.mkdir(parents=True, exist_ok=True)
    told = {**share.incident, "name": row.name, "severity": row.severity, "category": row.category}
    told |= {"run_folder": row.run_folder, "because": share.because}
    _write(place / "incident.json", told)
    _write(place / "findings.json", [asdict(one) for one in share.findings])
    shutil.copy2(scenario, place / "scenario.yaml")
    for source, name in ({"target/logs": "logs"} | NAMES).items():
        if (run / source).is_dir():
            shutil.copytree(run / source, place / name, copy_function=_same_file, dirs_exist_ok=True)
    return place


def leave_escalation(out: Path, one: Escalation) -> None:
    place = out / one.incident_id
    place.mkdir(parents=True, exist_ok=True)
    _write(place / "escalation.json", asdict(one))


def _same_file(source: str, copy: str) -> None:
    try:
        os.link(source, copy)
    except OSError:  # another file system, or it is there already
        shutil.copy2(source, copy)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def not_run(state: WaveState, after: int, why: str) -> WaveState:
    """What comes after wave *after* is not run, for good."""
    left = tuple(name for one in state.waves if one.number > after for name in one.scenarios)
    state = replace(state, waves=tuple(replace(w, state="not run") if w.number > after else w for w in state.waves))
    return state.with_scenarios(left, state=ENDED, verdict=Verdict.INCONCLUSIVE.value, because=f"not run: {why}")
