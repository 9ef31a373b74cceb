"""What a person sees of a suite: where it is, how long it still takes, and the table at its end."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from rich.markup import escape
from rich.table import Table

from harness.console import STYLES, console, say
from harness.embedded import TwinFailed
from harness.model import Verdict
from harness.suite_check import SuiteRefused
from harness.suite_pause import QUIET_S
from harness.suite_run import Listener
from harness.suite_state import ENDED, WAITING, Row, State

PROGRESS = re.compile(r"^\[ *[\d.]+ s\] (.*)")  # a line of harness/console.py's Progress, without a terminal
SHORTEST_S = 5.0  # a scenario that takes longer than thought is not said to be over
CRASHED = Verdict.INCONCLUSIVE.exit_code


class Printer(Listener):
    """A line that is renewed in a terminal; elsewhere a line whenever the scenario says something."""

    resumable = True

    def __init__(self) -> None:
        self.terminal = sys.stdout.isatty()
        self.told = ""
        self.verdict = Verdict.INCONCLUSIVE

    def where(self, state: State, number: int) -> str:
        """Which of how many runs, and its name."""
        return f"[{number + 1}/{len(state.rows)}] {state.rows[number].scenario_id}"

    def left_s(self, state: State, number: int | None = None, elapsed_s: float = 0.0) -> float:
        """About how long the whole still takes, while *number* runs."""
        return left_s(state.rows, number, elapsed_s)

    def begun(self, state: State) -> None:
        asked = state.asked
        waits = sum(row.state != ENDED for row in state.rows)
        off = f", without {asked.safeguards_off}" if asked.safeguards_off else ""
        off += f", planted: {asked.plant}" if asked.plant else ""
        control = ", control: no fault is injected" if asked.control else ""
        say(f"suite of {len(state.rows)}, seed {asked.seed}, time scale {asked.time_scale:g}{off}{control}")
        say(f"  {waits} to run, about {minutes(self.left_s(state))}; report {state.file.with_suffix('.html')}")
        for row in state.rows:
            if row.state == ENDED:
                say(f"  {row.scenario_id}: {row.verdict}: {row.because}")

    def scenario(self, state: State, number: int) -> None:
        row = state.rows[number]
        if row.pause_because:
            say(f"{self.where(state, number)}: after {row.paused_s:g} s still not quiet: {row.pause_because}")
        say(f"{self.where(state, number)}: begins, seed {row.seed}, about {minutes(row.expected_s)}")
        self.told = "starting"

    def printed(self, state: State, number: int, elapsed_s: float, lines: Sequence[str]) -> None:
        news = [found.group(1) for line in lines if (found := PROGRESS.match(line))]
        self.told = news[-1].strip() if news else self.told
        rest = minutes(self.left_s(state, number, elapsed_s))
        line = f"{self.where(state, number)} {elapsed_s:.0f} s (suite: {rest} left) {self.told}"
        if self.terminal:
            width = max(20, console().width - 1)
            sys.stdout.write(f"\r\x1b[K{line[:width]}")
            sys.stdout.flush()
        elif news:
            say(line)

    def ended(self, state: State, number: int) -> None:
        row = state.rows[number]
        self.clear()
        say(f"{self.where(state, number)}: {outcome(row)}")

    def over(self, state: State) -> None:
        self.verdict = state.verdict
        self.clear()
        screen = console()
        screen.print(table(state))
        report = state.report()
        counts = ", ".join(f"{report[key]} {key.replace('_', ' ')}" for key in ("failed", "inconclusive"))
        style = STYLES[state.verdict.value]
        rate = f"passed {report['passed']} of {report['total_scenarios']} ({report['success_rate']:.1f} %)"
        screen.print(f"\n{rate}, {counts}, {report['not_applicable']} not applicable")
        screen.print(f"verdict: [{style}]{state.verdict.value}[/] (exit {state.verdict.exit_code})")
        if state.cut:
            say(f"cut off: {state.cut}")
        say(f"report: {state.file.with_suffix('.html')}")
        if not state.finished and self.resumable:
            say(f"go on: grace-chaos run --resume {shlex.quote(str(state.file))}")

    def clear(self) -> None:
        if self.terminal:
            sys.stdout.write("\r\x1b[K")


def outcome(row: Row) -> str:
    return f"{row.verdict} after {row.took_s or 0:.0f} s: {row.because}"


def table(state: State) -> Table:
    rows = Table(show_header=True, header_style="bold", box=None, pad_edge=False)
    for name in ("", "scenario", "took", "because"):
        rows.add_column(name, overflow="fold", justify="right" if name == "took" else "left")
    for row in state.rows:
        took = "" if row.took_s is None else f"{row.took_s:.0f} s"
        mark = "not run" if row.state == WAITING else f"[{STYLES[row.verdict]}]{row.verdict}[/]"
        rows.add_row(mark, escape(row.scenario_id), took, escape(row.because))
    return rows


class Runs(Protocol):
    """A scenario of a suite, or a wave."""

    @property
    def state(self) -> str: ...

    @property
    def expected_s(self) -> float: ...

    @property
    def took_s(self) -> float | None: ...


def left_s(runs: Sequence[Runs], running: int | None = None, elapsed_s: float = 0.0) -> float:
    """About how long they still take; what has run tells by how much the estimates are wrong."""
    done = [one for one in runs if one.state == ENDED and one.took_s]
    expected_s = sum(one.expected_s for one in done)
    factor = sum(one.took_s or 0.0 for one in done) / expected_s if expected_s else 1.0
    waits = [one for number, one in enumerate(runs) if one.state != ENDED and number != running]
    rest_s = sum(one.expected_s * factor + QUIET_S for one in waits)
    if running is not None:
        rest_s += max(SHORTEST_S, runs[running].expected_s * factor - elapsed_s)
    return rest_s


def minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def run_to_exit_code(
    suite: Callable[[Listener], Coroutine[Any, Any, dict[str, Any]]], printer: Printer | None = None
) -> int:
    """Runs a suite from the command line; the exit code is that of the worst verdict.

    Ctrl-C and SIGTERM heal first; then it is INCONCLUSIVE at best, and a FAIL that is known stays one.
    """
    printer = printer or Printer()
    found: list[int] = []

    async def whole() -> None:
        task = asyncio.ensure_future(suite(printer))
        loop = asyncio.get_running_loop()
        heard: list[int] = []

        def hear(number: int) -> None:
            say("already on its way out: the running scenario heals first" if heard else "stopping: it heals first")
            heard.append(number)
            if len(heard) == 1:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, hear, number)
        try:
            found.append(int((await task)["exit_code"]))
        except asyncio.CancelledError:
            found.append(Verdict.worst([printer.verdict, Verdict.INCONCLUSIVE]).exit_code)

    try:
        asyncio.run(whole())
    except SuiteRefused as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except TwinFailed as error:
        sys.stderr.write(f"{error}\n")
        return Verdict.INCONCLUSIVE.exit_code
    except (
        Exception,
        SystemExit,
    ) as error:  # a crash is no verdict: Python would end with 1, a FAIL
        sys.stderr.write(f"the suite failed: {type(error).__name__}: {error}\n")
        return CRASHED
    return found[0]
