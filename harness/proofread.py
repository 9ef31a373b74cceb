"""Proofreading: all that is wrong in scenario files, each word held against a target on paper; nothing is started."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.catalog import nearest
from harness.contracts import Target, TargetError
from harness.expect import lacks
from harness.metrics import UNITS
from harness.plan import Options, build_plan, lacking, lint
from harness.scenario import Scenario, ScenarioError, read_file
from harness.target import load_target

WRITING_LIMIT_S = 20.0
BY_WHOM = "these are judged by the words of the embedded Grace; --target FILE judges by those of another system"


@contextmanager
def paper(manifest: Path | None) -> Iterator[Target]:
    """The target that a manifest describes; without one the embedded Grace, as it would be. Raises TargetError."""
    if manifest is not None:
        yield load_target(manifest)
        return
    folder = Path(tempfile.mkdtemp(prefix="grace-paper-"))
    try:
        command = [sys.executable, "-m", "twin", "--dir", str(folder), "--on-paper"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=WRITING_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise TargetError(f"the embedded Grace was not described within {WRITING_LIMIT_S:g} s") from None
        if done.returncode:
            raise TargetError(f"the embedded Grace cannot be described: {done.stderr.strip()}")
        yield load_target(folder / "target.yaml")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def proofread(word: Path, target: Target) -> tuple[list[Scenario], list[str]]:
    """(the scenarios of FILE or FILE#ID, all that is wrong with the file or with these)."""
    path, chosen = word, ""
    if not word.exists() and "#" in word.name:
        name, _, chosen = str(word).rpartition("#")
        path = Path(name)
    read, problems = read_file(path)
    ids = [one.scenario_id for one in read]
    if chosen and chosen not in ids and not problems:
        problems = [f"{path}: no scenario in it is called {chosen!r}.{nearest(chosen, ids)}"]
    found = [one for one in read if chosen in ("", one.scenario_id)]
    problems += [problem for one in found for problem in _wrong(one, target)]
    return found, sorted(dict.fromkeys(problems), key=_line)


def _line(problem: str) -> int:
    place = re.match(r".*?:(\d+): ", problem)
    return int(place.group(1)) if place else 0


def _wrong(scenario: Scenario, target: Target) -> list[str]:
    """What no target knows, what *target* does not know, and what it does not have."""
    problems: list[str] = []
    for look in (lambda: lint(scenario, UNITS), lambda: build_plan(scenario, target, Options(seed=1), UNITS)):
        try:
            look()
        except ScenarioError as error:
            problems += error.problems
    for entry in (*scenario.faults, *scenario.pool):
        problems += lacking(entry, target)
    return [*problems, *(f"{scenario.places['prerequisites']}: {lack}" for lack in lacks(scenario, target))]
