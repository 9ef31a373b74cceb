"""The figures of a matrix: what was left, and how long each fault took to be taken back."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime

from harness.killmatrix.cells import VICTIMS, Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: one row a fault, with the median and the longest time to heal in milliseconds by who was killed.

    Only kills that met the world changed have such a time: where there was nothing to take back, 0 ms is no figure.
    """
    clean = sum(outcome.clean for outcome in outcomes)
    changed = sum(outcome.changed for outcome in outcomes)
    lines = [
        "# No fault outlives the harness",
        "",
        f"{clean} of {len(outcomes)} kills left nothing behind. {datetime.now(UTC):%Y-%m-%d}, {_machine()}.",
        "",
        f"{changed} of them met something changed. Of these, the time from the kill until all was as before, and",
        "stayed so, in ms: median (longest), of how many. Where harness and guardian were both killed, it is what",
        "`grace-chaos heal` took, its own start included. What kernel_kill and worker_dropout kill is the target's",
        "to mend.",
        "",
        "| fault | kills, changed | " + " | ".join(f"{who} killed" for who in VICTIMS) + " |",
        "|---|---|" + "---|" * len(VICTIMS),
    ]
    for fault in dict.fromkeys(outcome.cell.fault for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.cell.fault == fault]
        cells = " | ".join(_spread([one for one in mine if one.cell.killed == who]) for who in VICTIMS)
        lines.append(f"| {fault} | {len(mine)}, {sum(outcome.changed for outcome in mine)} | {cells} |")
    dirty = [outcome for outcome in outcomes if not outcome.clean]
    lines += [
        "",
        *(f"- LEFT BEHIND by {one.cell} (in {one.hit or 'no state'}): {'; '.join(one.left)}" for one in dirty),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _spread(outcomes: Sequence[Outcome]) -> str:
    times = [1000 * one.heal_s for one in outcomes if one.changed and one.heal_s is not None]
    return f"{statistics.median(times):.0f} ({max(times):.0f}), {len(times)}" if times else "–"


def _machine() -> str:
    return f"Linux {platform.release()}, {platform.machine()}, Python {platform.python_version()}"
