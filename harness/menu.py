"""The interactive menu: the categories of the document, what is in each, and a suite of the one that is chosen."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from harness.catalog import nearest
from harness.classic import CLASSIC
from harness.model import Verdict
from harness.scenario import ALL, CATEGORIES
from harness.suite_check import Asked
from harness.suite_console import run_to_exit_code
from harness.suite_door import OUT, WAVES
from harness.suite_entries import UNKNOWN, Entry, entries
from harness.suite_run import start_suite
from harness.wave_console import WavePrinter
from harness.waves import OUT as OUT_OF_WAVES
from harness.waves import start_waves

TITLES = (
    "Multi-fault orchestration",
    "Layer 2 (HTM)",
    "Layer 3 (governance)",
    "External",
    "Deep complexity",
    "Waves (the original suite)",
    "Layer 1 (the original suite)",
    "All but the original suite",
)
WORDS = (*CATEGORIES, ALL)
LEAVE = ("q", "quit", "exit")


class Leave(Exception):
    """The input has ended, or the user wants to go."""


def main() -> int:
    """Until the user leaves, or the input ends. The exit code is the worst of what was run, 0 for nothing."""
    codes: list[int] = []
    try:
        while True:
            chosen = choose()
            time_scale = ask("time scale, 1 is full length", "1", _time_scale)
            seed = ask("seed, 0 draws one", "0", _seed)
            codes.append(_run(chosen, time_scale, seed))
    except (Leave, KeyboardInterrupt):
        print()
    return worst(codes)


def _run(chosen: tuple[str, ...], time_scale: float, seed: int) -> int:
    """The wave cards in waves, as they are meant to; everything else one after the other."""
    if chosen == (WAVES,):
        asked = Asked(scenarios=chosen, out=OUT_OF_WAVES, seed=seed, time_scale=time_scale)
        return run_to_exit_code(partial(start_waves, asked), WavePrinter())
    asked = Asked(scenarios=chosen, out=Path(OUT), seed=seed, time_scale=time_scale)
    return run_to_exit_code(partial(start_suite, asked))


def worst(codes: list[int]) -> int:
    """FAIL, then INCONCLUSIVE, then what was refused, then NOT_APPLICABLE, then PASS."""
    order = [Verdict.FAIL.exit_code, Verdict.INCONCLUSIVE.exit_code, 2, Verdict.NOT_APPLICABLE.exit_code]
    return next((code for code in order if code in codes), 0)


def choose() -> tuple[str, ...]:
    """The category that is chosen, or ids of scenarios."""
    known = entries([ALL, *CLASSIC])
    print("\nWhat is to be done to Grace?\n")
    for number, (word, title) in enumerate(zip(WORDS, TITLES, strict=True), 1):
        mine = [
            one for one in known if one.category in (word, UNKNOWN) or (word == ALL and one.category not in CLASSIC)
        ]
        print(f"  {number}. {title} ({len(mine)})")
        for one in mine if word != ALL else ():
            print(f"       {_line(one)}")
    print("  q. leave\n")
    return ask(f"1 to {len(WORDS)}, or scenario ids", "", lambda text: _choice(text, known))


def _line(one: Entry) -> str:
    lacks = f"  (cannot run: {one.lacks_briefly})" if one.lacks else ""
    return f"{one.scenario_id:<34} severity {one.severity}  {one.name}{lacks}"


def ask(question: str, default: str, read: Callable[[str], object]):  # type: ignore[no-untyped-def]
    """The answer, asked for until it can be read."""
    while True:
        try:
            text = input(f"{question} [{default}]: " if default else f"{question}: ").strip() or default
        except (EOFError, UnicodeDecodeError):
            raise Leave from None
        if not sys.stdin.isatty():
            print()  # nobody pressed return
        if text.lower() in LEAVE:
            raise Leave
        try:
            return read(text)
        except ValueError as error:
            print(f"  {error}")


def _choice(text: str, known: list[Entry]) -> tuple[str, ...]:
    ids = [one.scenario_id for one in known]
    words = tuple(text.replace(",", " ").split())
    if len(words) == 1 and words[0] in [str(number) for number, _ in enumerate(WORDS, 1)]:
        words = (WORDS[int(words[0]) - 1],)
    if not words or words[0].isdigit():
        given = f", not {text}" if text else ""
        raise ValueError(f"1 to {len(WORDS)}, scenario ids, or q to leave are expected{given}")
    for word in words:
        if word not in (*ids, *WORDS):
            raise ValueError(f"no scenario is called {word!r}.{nearest(word, [*ids, *WORDS])}")
        if word in CATEGORIES and not any(one.category in (word, UNKNOWN) for one in known):
            raise ValueError(f"{word} holds no scenario yet")
    return words


def _time_scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"a number above 0 is expected, not {text!r}")
    return value


def _seed(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise ValueError(f"a whole number of at least 0 is expected, not {text!r}")
    return value
