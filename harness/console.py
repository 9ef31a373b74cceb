"""What a person sees in the terminal: progress while it runs, and the findings at the end."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from harness.model import ROOTS, Finding, Verdict, invariants_judged

if TYPE_CHECKING:
    from harness.run import Run

STYLES = {"PASS": "green", "FAIL": "bold red", "INCONCLUSIVE": "yellow", "NOT_APPLICABLE": "dim"}
WIDTH_OF_LOGS = 160
BAR = 24
COLUMNS_MIN = 20  # what is narrower may be wrapped
RENEWED = "\r\x1b[K"  # takes the line back that stands there


def console() -> Console:
    terminal = sys.stdout.isatty()
    return Console(file=sys.stdout, width=None if terminal else WIDTH_OF_LOGS, highlight=False)


def say(text: str) -> None:
    """In one line, however long: a log is searched by lines, and a terminal wraps by itself."""
    sys.stdout.write(f"{RENEWED if sys.stdout.isatty() else ''}{text}\n")
    sys.stdout.flush()


def table(findings: Sequence[Finding], verdict: Verdict, folder: Path, repeat: str, head: str = "") -> str:
    """The findings as a table, the worst first in the eye, and what to do next."""
    screen = console()
    rows = Table(show_header=True, header_style="bold", box=None, pad_edge=False)
    for name in ("", "claim", "because"):
        rows.add_column(name, overflow="fold")
    for finding in findings:
        word = finding.verdict.value if finding.judged else "not judged"
        mark = f"[{STYLES[finding.verdict.value]}]{word}[/]"
        rows.add_row(mark, escape(finding.claim), escape(finding.because))
    with screen.capture() as capture:
        screen.print(rows)
        judged = invariants_judged(findings)
        of = f" ({judged})" if judged else ""
        screen.print(f"\nverdict: [{STYLES[verdict.value]}]{verdict.value}[/]{of} (exit {verdict.exit_code})")
        for one in findings:
            if not one.judged:
                screen.print(f"not judged: {one.claim}: {one.because}", markup=False, soft_wrap=True)
        if verdict is not Verdict.PASS:
            screen.print(f"because: {cause(findings, verdict)}", markup=False, soft_wrap=True)
        screen.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)
        if head:
            screen.print(f"timeline head: {head}", markup=False, soft_wrap=True)
        if verdict is not Verdict.PASS:
            screen.print(f"repeat: {repeat}", markup=False, soft_wrap=True)
    return capture.get()


def summary_of(run: Run) -> str:
    """The table of a run that is judged."""
    return table(run.findings, run.verdict or Verdict.INCONCLUSIVE, run.folder, str(run.facts["repeat"]), run.head)


def last_word(run: Run) -> str:
    """The verdict once more, for below the tables that Locust prints after everything else."""
    verdict, judged = run.verdict or Verdict.INCONCLUSIVE, invariants_judged(run.findings)
    of = f" ({judged})" if judged else ""
    report = run.folder / "report.html"
    return f"timeline head: {run.head}\n{verdict.value}{of} (exit {verdict.exit_code}): {report}"


def cause(findings: Sequence[Finding], verdict: Verdict) -> str:
    """The finding that explains the others: of what invalidates a run the root, else the first that failed."""
    mine = [one for one in findings if one.verdict is verdict and one.judged]
    if not mine:
        return "nothing was judged"
    roots = [one for check in ROOTS for one in mine if one.check == check]
    one = roots[0] if roots and verdict is Verdict.INCONCLUSIVE else mine[0]
    more = f" (and {len(mine) - 1} more)" if len(mine) > 1 else ""
    return f"{one.claim}: {one.because}{more}"


def _columns() -> int:
    return max(COLUMNS_MIN, shutil.get_terminal_size().columns)


class Progress:
    """A bar in a terminal, a plain line at each change of phase and every ten seconds elsewhere."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.terminal = sys.stdout.isatty()
        self.last = ("", -10.0)

    def show(self) -> None:
        now_s = self.run.clock.now_s()
        line = self._line(now_s)
        if self.terminal:  # a line that is wrapped could not be taken back, and would fill the screen
            sys.stdout.write(f"{RENEWED}{line[: _columns() - 1]}")
            sys.stdout.flush()
        elif self.run.phase != self.last[0] or now_s - self.last[1] >= 10:
            self.last = (self.run.phase, now_s)
            say(f"[{now_s:6.1f} s] {line}")

    def close(self) -> None:
        if self.terminal:
            sys.stdout.write(RENEWED)

    def _line(self, now_s: float) -> str:
        run = self.run
        if run.phase == "done":
            return f"{run.phase:<9}the load stops, then it is judged"
        total_s = {
            "baseline": run.plan.slo.baseline_s,
            "faults": max(run.plan.faults_end_s, 1.0),
            "recovery": run.plan.recovery_limit_s,
        }.get(run.phase, 1.0)
        part = min(1.0, (now_s - run.phase_at_s) / total_s)
        length = min(BAR, _columns() // 4) if self.terminal else BAR
        bar = "#" * int(part * length) + "." * (length - int(part * length))
        told = [", ".join(run.conductor.active)] if run.conductor.active else []
        told += [f"{name} engaged for {subject}" for name, subject in sorted(run.watcher.engaged)]
        if run.phase in ("baseline", "recovery") and run.unwell_because and not told:
            told.append(f"not yet: {run.unwell_because}")
        return f"{run.phase:<9}[{bar}] {now_s - run.phase_at_s:5.1f} s  {'; '.join(told)}".rstrip()
