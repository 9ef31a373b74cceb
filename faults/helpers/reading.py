"""How a fault finds its helper again and reads what it has measured."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.contracts import Hands, Helper, ProcessId
from harness.model import Effect, Hold, Sample

TAIL_BYTES = 16384
SILENT_S = 1.5  # six rows late: what the helper did meanwhile nobody has measured, so it counts as nothing
LOST_S = 4.0


def helper_facts(helper: Helper) -> dict[str, Any]:
    return {**asdict(helper.process), "output": str(helper.output)}


def helper_of(effect: Effect) -> Helper:
    facts = effect.facts
    process = ProcessId(pid=facts["pid"], start_ticks=facts["start_ticks"], boot_id=facts["boot_id"])
    return Helper(process=process, output=Path(facts["output"]))


def rows(path: Path) -> list[dict[str, Any]]:
    """The helper's last complete lines (of the last 16 KiB)."""
    with path.open("rb") as file:
        start = max(0, path.stat().st_size - TAIL_BYTES)
        file.seek(start)
        lines = file.read().split(b"\n")
    whole = lines[1 if start else 0 : -1]  # what is cut may begin with a brace of its middle
    return [json.loads(line) for line in whole if line.startswith(b"{")]


def sample_mean(effect: Effect, hands: Hands, field: str, window_s: float) -> Sample:
    """The mean of *field* over the last *window_s* seconds of the helper's rows; LOST when the helper is dead.

    A helper that lives and has fallen silent (stopped, or starved) measures nothing: after SILENT_S its sample is 0,
    after LOST_S the fault is LOST. Before its first row it is still getting ready. A row's *limited_by* says why its
    helper does less than it was asked to, and becomes the sample's because.
    """
    helper = helper_of(effect)
    if not hands.alive(helper):
        errors = helper.output.with_name(f"{helper.output.name}.err")
        last = errors.read_text(errors="replace").strip().splitlines()[-1:] if errors.exists() else []
        return Sample(achieved=None, hold=Hold.LOST, because=" ".join(["the helper process has ended", *last]))
    written = rows(helper.output)
    if written and "error" in written[-1]:
        return Sample(achieved=None, hold=Hold.LOST, because=str(written[-1]["error"]))
    if written and (silent := _silent(helper, time.monotonic() - written[-1]["at"])):
        return silent
    measured = [row for row in written if field in row]
    if not measured:
        return Sample(achieved=None)
    newest = measured[-1]
    recent = [row for row in measured if row["at"] > newest["at"] - window_s]
    mean = sum(row[field] for row in recent) / len(recent)
    return Sample(achieved=mean, because=str(newest.get("limited_by", "")), detail=newest)


def _silent(helper: Helper, age_s: float) -> Sample | None:
    """What a newest row that is *age_s* old is worth; None while it is fresh."""
    if age_s <= SILENT_S:
        return None
    because = f"the helper (pid {helper.process.pid}) lives but has not told anything for {age_s:.1f} s"
    if age_s > LOST_S:
        return Sample(achieved=None, hold=Hold.LOST, because=because)
    return Sample(achieved=0.0, because=because)
