"""What a suite runs: words → entries, in order. What cannot be read is an entry too, with its reason.

A file that is named must be without fault; one that merely stands in a category is NOT_APPLICABLE when it is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness.catalog import nearest
from harness.metrics import UNITS
from harness.plan import lint
from harness.scenario import (
    ALL,
    CATEGORIES,
    Scenario,
    ScenarioError,
    file_and_id,
    files_of,
    names,
    read_file,
    shipped,
    shipped_classic,
)

UNKNOWN = "unknown"  # the category of a file that does not tell; it is listed in every one


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A scenario of a suite. *word* is what `--scenario` takes; *lacks* says why it cannot run, *named* who asked."""

    scenario_id: str
    name: str
    category: str
    severity: int
    description: str
    word: str
    named: bool
    path: Path
    lacks: str = ""
    expected_s: float = 60.0
    scenario: Scenario | None = None

    @property
    def lacks_briefly(self) -> str:
        """Without the words that would be known."""
        return self.lacks.partition(" Known:")[0]

    def __getitem__(self, key: str) -> Any:
        """As the document has it: scenario['scenario_id']."""
        if key not in {one.name for one in fields(self)}:
            raise KeyError(key)
        return getattr(self, key)


def seed_of(suite_seed: int, scenario_id: str) -> int:
    """The seed of one scenario: the same whatever else the suite runs, and in whatever order."""
    digest = hashlib.sha256(f"{suite_seed}:{scenario_id}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % (2**31 - 2) + 1


def split(spec: str) -> list[str]:
    return [part.strip() for part in spec.split(",") if part.strip()]


def is_suite(words: Sequence[str]) -> bool:
    """Whether the words ask for more than one run: several, a category, or a file with several scenarios."""
    if len(words) != 1 or words[0] in (ALL, *CATEGORIES):
        return bool(words)
    path, chosen = file_and_id(words[0])
    return path is not None and not chosen and len(read_file(path)[0]) > 1


def entries(words: Iterable[str]) -> list[Entry]:
    """The scenarios that the words name, each once. Raises ScenarioError with all that is wrong in what is named."""
    found: dict[str, Entry] = {}
    problems: list[str] = []
    for word in words:
        try:
            for one in _of_word(word):
                if one.word not in found or one.named:
                    found[one.word] = one
        except ScenarioError as error:
            problems += error.problems
    if problems:
        raise ScenarioError(problems)
    if not found:
        raise ScenarioError([f"no scenario is named.{nearest('', names())}"])
    return list(found.values())


def _of_word(word: str) -> list[Entry]:
    if word in (ALL, *CATEGORIES):
        every = [one for path in files_of(word) for one in _of_file(path)]
        return sorted((one for one in every if word in (ALL, one.category) or one.category == UNKNOWN), key=_place)
    path, chosen = file_and_id(word)
    if path is None:
        choices = nearest(word, names())
        raise ScenarioError([f"no scenario is called {word!r}.{choices}"])
    read, problems = read_file(path)
    for one in read:
        problems += _words_of(one) if chosen in ("", one.scenario_id) else []
    if problems:
        raise ScenarioError(problems)
    ids = [one.scenario_id for one in read]
    if chosen and chosen not in ids:
        raise ScenarioError([f"{path}: no scenario in it is called {chosen!r}.{nearest(chosen, ids)}"])
    several = len(read) > 1
    return [_entry(one, several, named=True) for one in read if chosen in ("", one.scenario_id)]


def _of_file(path: Path) -> Iterator[Entry]:
    """The scenarios of a file that stands in a category."""
    read, problems = read_file(path)
    if not read:
        yield Entry(
            scenario_id=path.stem,
            name=path.stem,
            category=UNKNOWN,
            severity=0,
            description="",
            word=str(path.resolve()),
            named=False,
            path=path,
            lacks="; ".join(problems),
        )
    for one in read:
        yield replace(_entry(one, len(read) > 1, named=False), lacks="; ".join(problems or _words_of(one)))


def _words_of(scenario: Scenario) -> list[str]:
    try:
        lint(scenario, UNITS)
    except ScenarioError as error:
        return error.problems
    return []


def _entry(one: Scenario, several: bool, named: bool) -> Entry:
    home = (shipped_classic() if several else shipped()).get(one.scenario_id)
    at_home = home is not None and home.resolve() == one.path.resolve()
    word = one.scenario_id if at_home else str(one.path.resolve()) + (f"#{one.scenario_id}" if several else "")
    return Entry(
        scenario_id=one.scenario_id or one.path.stem,
        name=one.name,
        category=one.category if one.category in CATEGORIES else UNKNOWN,
        severity=one.severity,
        description=one.description,
        word=word,
        named=named,
        path=one.path,
        scenario=one,
    )


def _place(one: Entry) -> tuple[int, str]:
    order = (*CATEGORIES, UNKNOWN)
    return order.index(one.category), one.scenario_id
