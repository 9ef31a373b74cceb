"""`grace-chaos waves`, and what a person sees of it: wave by wave, and what was escalated."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.model import Verdict
from harness.suite_check import Asked
from harness.suite_console import PROGRESS, Printer, run_to_exit_code, say
from harness.suite_entries import split
from harness.suite_state import State
from harness.wave_shares import shares
from harness.wave_state import SCHEMA, WaveRow, WaveState
from harness.waves import DEFAULT, OUT, start_waves


def add_waves(verbs: Any) -> None:
    verb = verbs.add_parser(
        "waves", help="scenarios in waves of rising severity on one Grace, several at the same time"
    )
    verb.add_argument("scenario", nargs="*", help=f"ids, categories, files, FILE#ID; without any: {DEFAULT[0]}")
    verb.add_argument("--time-scale", type=float, default=1.0)
    verb.add_argument("--seed", type=int, default=0, help="0 draws one, which is printed")
    verb.add_argument("--out", default=str(OUT), help=f"where runs, incidents and reports are kept; {OUT}")
    verb.add_argument("--keep-going", action="store_true", help="also after a wave that failed")
    verb.add_argument("--safeguards-off", metavar="NAME,...", default="")
    verb.add_argument("--plant", metavar="NAME,...", default="")
    verb.add_argument("--host", default="")
    verb.add_argument("--target", metavar="FILE", default="")
    verb.add_argument("--allow-host", metavar="NAME,...", default="")
    verb.add_argument("-u", "--users", type=int)


def waves(options: argparse.Namespace, rest: list[str]) -> int:
    words = tuple(word for one in options.scenario for word in split(one)) or DEFAULT
    asked = Asked(
        scenarios=words,
        out=Path(options.out),
        seed=options.seed,
        time_scale=options.time_scale,
        safeguards_off=options.safeguards_off,
        plant=options.plant,
        host=options.host,
        target=options.target,
        allow_host=options.allow_host,
        users=options.users,
    )
    run = partial(start_waves, asked, options.keep_going)
    return run_to_exit_code(run, WavePrinter())


def is_report(path: Path) -> bool:
    """Whether a file is the report of a test run in waves."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.get("schema") == SCHEMA


def verify(path: Path) -> int:
    """`grace-chaos verify` of such a report: each scenario's share of its wave is judged again; the worst decides."""
    told = json.loads(path.read_text(encoding="utf-8"))
    verdicts = []
    for row in told["scenarios"]:
        verdict, because = Verdict(row["verdict"]), str(row["because"])
        again = _again(path.parent, row) if row["run_folder"] or verdict is Verdict.PASS else (verdict, because)
        if (
            verdict in (Verdict.PASS, Verdict.FAIL) or again[0] is Verdict.FAIL
        ):  # nothing else is bettered by its folder
            verdict, because = again
        said = "" if verdict.value == row["verdict"] else f"  (the report says {row['verdict']})"
        say(f"{verdict.value:<14} {row['scenario_id']}: {because}{said}")
        verdicts.append(verdict)
    worst = Verdict.worst(verdicts)
    say(f"verdict: {worst.value} (exit {worst.exit_code})")
    return worst.exit_code


def _again(out: Path, row: Mapping[str, Any]) -> tuple[Verdict, str]:
    if not row["run_folder"]:
        return Verdict.INCONCLUSIVE, "it has no run folder"
    try:
        found = [one for one in shares(out / row["run_folder"]) if one.scenario_id == row["scenario_id"]]
    except (OSError, ValueError) as error:
        return Verdict.INCONCLUSIVE, f"its run folder cannot be judged: {error}"
    return (found[0].verdict, found[0].because) if found else (Verdict.INCONCLUSIVE, "it has no share of its wave")


class WavePrinter(Printer):
    """A line whenever a wave begins, says something, or ends."""

    resumable = False

    def begun(self, state: State) -> None:
        super().begun(state)
        for wave in _waves(state):
            say(f"  wave {wave.number}, severity {wave.severity}: {', '.join(wave.scenarios)}")
            for name, why in wave.apart.items():
                say(f"    {name} apart: {why}")

    def scenario(self, state: State, number: int) -> None:
        wave = _wave(state, number)
        if wave.steady_before:
            say(f"{_at(state, wave)} after {wave.paused_s:g} s the target is still not steady: {wave.steady_before}")
        say(f"{_at(state, wave)} {', '.join(wave.scenarios)}: begins, seed {state.rows[number].seed}")

    def printed(self, state: State, number: int, elapsed_s: float, lines: Sequence[str]) -> None:
        news = [found.group(1) for line in lines if (found := PROGRESS.match(line))]
        if news:
            say(f"{_at(state, _wave(state, number))} {elapsed_s:.0f} s {news[-1].strip()}")

    def ended(self, state: State, number: int) -> None:
        wave = _wave(state, number)
        for name in wave.scenarios:
            row = next(row for row in state.rows if row.scenario_id == name)
            say(f"{_at(state, wave)} {name}: {row.verdict} after {row.took_s or 0:.0f} s: {row.because}")

    def over(self, state: State) -> None:
        super().over(state)
        for one in state.escalations if isinstance(state, WaveState) else ():
            say(f"escalated after wave {one.wave}: {one.scenario_id}: {one.claim}: {one.because}")
            say(f"  not run for it: {', '.join(one.stopped) or 'nothing'}; {state.asked.out / one.incident_id}")


def _waves(state: State) -> tuple[WaveRow, ...]:
    return state.waves if isinstance(state, WaveState) else ()


def _wave(state: State, number: int) -> WaveRow:
    return next(one for one in _waves(state) if state.rows[number].scenario_id in one.scenarios)


def _at(state: State, wave: WaveRow) -> str:
    return f"[wave {wave.number}/{len(_waves(state))}]"
