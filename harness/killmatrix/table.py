"""The figures of a matrix: what was left, and how long each fault took to be taken back."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime

from harness.killmatrix.cells import VICTIMS, Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: one row a fault, with the median and the longest time to heal in milliseconds by who was killed."""
    clean = sum(outcome.clean for outcome in outcomes)
    lines = [
        "# No fault outlives the harness",
        "",
        f"{clean} of {len(outcomes)} kills left nothing behind. {datetime.now(UTC):%Y-%m-%d}, {_machine()}.",
        "",
        "Time from the kill until all was as before, in ms, median (longest). Where harness and guardian were both",
        "killed, it is what `grace-chaos heal` took, its own start included.",
        "",
        "| fault | kills | " + " | ".join(f"{who} killed" for who in VICTIMS) + " |",
        "|---|---|" + "---|" * len(VICTIMS),
    ]
    for fault in dict.fromkeys(outcome.cell.fault for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.cell.fault == fault]
        cells = " | ".join(_spread([one for one in mine if one.cell.killed == who]) for who in VICTIMS)
        lines.append(f"| {fault} | {len(mine)} | {cells} |")
    dirty = [outcome for outcome in outcomes if not outcome.clean]
    lines += [
        "",
        *(f"- LEFT BEHIND by {one.cell} (in {one.hit or 'no state'}): {'; '.join(one.left)}" for one in dirty),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _spread(outcomes: Sequence[Outcome]) -> str:
    times = [1000 * one.heal_s for one in outcomes if one.heal_s is not None]
    return f"{statistics.median(times):.0f} ({max(times):.0f})" if times else "–"


def _machine() -> str:
    return f"Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}"
