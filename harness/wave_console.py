"""`grace-chaos waves`, and what a person sees of it: wave by wave, and what was escalated."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from harness.console import say
from harness.model import Verdict
from harness.signing import PublicKey
from harness.suite_console import Printer, left_s, minutes, outcome, run_to_exit_code
from harness.suite_door import FOR_LOCUST, add_asked, asked_of, no_workers, refuse, verify_rows
from harness.suite_entries import split
from harness.suite_result import Result
from harness.suite_state import Row, State, row_of
from harness.verify import verify_folder
from harness.wave_shares import shares
from harness.wave_state import SCHEMA, WaveRow, WaveState
from harness.waves import DEFAULT, OUT, start_waves


def add_waves(verbs: Any) -> None:
    verb = verbs.add_parser(
        "waves",
        help="scenarios in waves of rising severity on one Grace, several at the same time",
        epilog=FOR_LOCUST,
        allow_abbrev=False,
    )
    verb.add_argument("scenario", nargs="*", help=f"ids, categories, files, FILE#ID; without any: {DEFAULT[0]}")
    add_asked(verb, str(OUT), "of the test run; each wave's follows from it; 0 draws one")
    verb.add_argument("--keep-going", action="store_true", help="also after a wave that failed")


def waves(options: argparse.Namespace, rest: list[str]) -> int:
    if "--control" in rest:
        return refuse("--control: without faults there are no waves; grace-chaos run takes it, of each scenario alone")
    if why := no_workers(rest):
        return refuse(why)
    words = [word for one in options.scenario for word in split(one)] or DEFAULT
    asked = asked_of(options, words, str(OUT), rest)
    return run_to_exit_code(partial(start_waves, asked, options.keep_going), WavePrinter())


def is_report(path: Path) -> bool:
    """Whether a file is the report of a test run in waves."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and told.get("schema") == SCHEMA


def verify(path: Path, key: PublicKey | None = None) -> int:
    """`grace-chaos verify` of such a report: each scenario's share of its wave is judged again; the worst decides."""
    try:
        rows = [row_of(one) for one in json.loads(path.read_text(encoding="utf-8"))["scenarios"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        return refuse(f"{path}: not a report of a test run in waves: {type(error).__name__}: {error}")
    return verify_rows(rows, lambda row: _again(path.parent / row.run_folder, row, key), key is not None)


def _again(folder: Path, row: Row, key: PublicKey | None = None) -> Result:
    try:
        mine = next(one for one in shares(folder) if one.scenario_id == row.scenario_id)
    except StopIteration:
        return Result(verdict=Verdict.INCONCLUSIVE, because="it has no share of its wave")
    except (OSError, ValueError) as error:
        return Result(verdict=Verdict.INCONCLUSIVE, because=f"its run folder cannot be judged: {error}")
    whole = verify_folder(folder, key)  # the run of the whole wave: its reports, its signature
    if whole.distrust or (whole.differs and mine.verdict is not Verdict.FAIL):
        return Result(verdict=Verdict.INCONCLUSIVE, because=whole.because, folder=folder)
    plan, head = whole.judged.record.plan, whole.judged.record.head
    if plan.seed != row.seed:  # another run of the same wave
        why = f"{row.run_folder} is not a run of {row.scenario_id} with seed {row.seed}"
        return Result(verdict=Verdict.INCONCLUSIVE, because=why)
    return Result(verdict=mine.verdict, because=mine.because, folder=folder, head=head)


class WavePrinter(Printer):
    """As of a suite, and the plan of each wave before it begins."""

    resumable = False

    def where(self, state: State, number: int) -> str:
        wave = _wave(state, number)
        return f"[wave {wave.number}/{len(_waves(state))}] {', '.join(wave.scenarios)}"

    def left_s(self, state: State, number: int | None = None, elapsed_s: float = 0.0) -> float:
        running = None if number is None else _waves(state).index(_wave(state, number))
        return left_s(_waves(state), running, elapsed_s)

    def begun(self, state: State) -> None:
        super().begun(state)
        for wave in _waves(state):
            say(f"  wave {wave.number}, severity {wave.severity}: {', '.join(wave.scenarios)}")
            for name, why in wave.apart.items():
                say(f"    {name} apart: {why}")

    def scenario(self, state: State, number: int) -> None:
        wave = _wave(state, number)
        where = self.where(state, number)
        if wave.steady_before:
            say(f"{where}: after {wave.paused_s:g} s the target is still not steady: {wave.steady_before}")
        say(f"{where}: begins, seed {wave.seed}, about {minutes(wave.expected_s)}")
        say(wave.plan)
        self.told = "starting"

    def ended(self, state: State, number: int) -> None:
        wave = _wave(state, number)
        self.clear()
        for row in (row for row in state.rows if row.scenario_id in wave.scenarios):
            say(f"[wave {wave.number}/{len(_waves(state))}] {row.scenario_id}: {outcome(row)}")

    def over(self, state: State) -> None:
        super().over(state)
        for one in state.escalations if isinstance(state, WaveState) else ():
            say(f"escalated after wave {one.wave}: {one.scenario_id}: {one.claim}: {one.because}")
            say(f"  not run for it: {', '.join(one.stopped) or 'nothing'}; {state.asked.out / one.incident_id}")


def _waves(state: State) -> tuple[WaveRow, ...]:
    return state.waves if isinstance(state, WaveState) else ()


def _wave(state: State, number: int) -> WaveRow:
    return next(one for one in _waves(state) if state.rows[number].scenario_id in one.scenarios)
