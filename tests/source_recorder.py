"""Recorder of what each check reads of a Record, for `python -m tests.source_recorder [--write] [CHECK...]`.

It runs the tests of the checks, over their healthy and broken run folders, with a Record that notes each read, and
compares the notes with the `sources` that each check declares. With --write it enters the sources into the checks.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from harness import catalog
from harness.audit import expanded
from harness.model import Event, Kind
from harness.record import FaultRecord, Record
from harness.states import AFTER, BEFORE, state_file

ROOT = Path(__file__).resolve().parents[1]
CHECKS = ROOT / "harness" / "checks"
RESULT = "GRACE_SOURCES_READ"  # variable: file for {check: {read, declared, undeclared}}
PLUGIN = "tests.source_recorder"
WIDTH = 96
RAN = (0, 1)  # exit codes of pytest that ran all tests; a failed one is reported by itself
# attributes of a Record that hold a whole file, or what was wrong with one
WHOLE = {
    "requests": "requests.csv",
    "folder": "the files of the run folder",
    "chain_problem": "timeline.jsonl: hash chain",
    "_torn": "unreadable rows",
}
SILENT = ("end_s", "load_end_s", "_began_s", "looked", "_states")  # bounds of time; evidence that names rows of a file
STATES = [state_file(name) for name in (BEFORE, AFTER)]
OF_FAULT = {
    "planned": Kind.FAULT_PLANNED,
    "injected": Kind.FAULT_INJECTED,
    "attained": Kind.FAULT_ATTAINED,
    "ended": Kind.FAULT_ENDED,
    "healed": Kind.FAULT_HEALED,
}


class Notes:
    """Reads by check: those of a check that calls another one include the other's."""

    def __init__(self) -> None:
        self.running: list[Any] = []
        self.quiet = 0
        self.read: dict[str, set[str]] = defaultdict(set)
        self.declared: dict[str, set[str]] = defaultdict(set)
        self.undeclared: dict[str, set[str]] = defaultdict(set)

    def note(self, *sources: str) -> None:
        if self.quiet:
            return
        for check in self.running:
            name = name_of(check)
            self.read[name].update(sources)
            self.undeclared[name].update(set(sources) - set(declared(check)))

    @contextmanager
    def silence(self) -> Iterator[None]:
        self.quiet += 1
        try:
            yield
        finally:
            self.quiet -= 1

    def result(self) -> dict[str, dict[str, list[str]]]:
        parts = {"read": self.read, "declared": self.declared, "undeclared": self.undeclared}
        names = sorted({*self.read, *self.declared})
        return {name: {part: sorted(found[name]) for part, found in parts.items()} for name in names}


NOTES = Notes()


def name_of(check: Any) -> str:
    return type(check).__module__.rpartition(".")[2]


def declared(check: Any) -> tuple[str, ...]:
    return expanded(getattr(check, "sources", ()))


class NotedFault(FaultRecord):
    """FaultRecord that notes which rows of a fault are read."""

    def __getattribute__(self, name: str) -> Any:
        if name in OF_FAULT:
            NOTES.note(f"timeline: {OF_FAULT[name].value}")
        return super().__getattribute__(name)


class NotedEvents(tuple[Event, ...]):
    """Rows of the timeline: one row notes its kind, a loop over them notes all kinds."""

    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        NOTES.note(f"timeline: {found.kind.value}" if isinstance(found, Event) else "timeline: every row")
        return found

    def __iter__(self) -> Iterator[Event]:
        NOTES.note("timeline: every row")
        return super().__iter__()

    def __len__(self) -> int:
        NOTES.note("timeline: every row")
        return super().__len__()


def noted(original: Callable[..., Any], words: Callable[..., Iterable[str]], silent: bool = True) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(self: Record, *args: Any, **named: Any) -> Any:
        NOTES.note(*words(*args, **named))
        if not silent:
            return original(self, *args, **named)
        with NOTES.silence():
            return original(self, *args, **named)

    return call


def instrument() -> None:
    """Make Record and every check note what is read."""
    for name in ("of_kind", "first"):
        kinds = (lambda *many: [f"timeline: {kind.value}" for kind in many]) if name == "of_kind" else _of_first
        setattr(Record, name, noted(getattr(Record, name), kinds))
    for name in ("signals", "subjects", "signal_times"):
        setattr(Record, name, noted(getattr(Record, name), _of_signal))
    Record.held = noted(Record.held, lambda name: [f"target/{name}.jsonl"])  # type: ignore[method-assign]
    for name in SILENT:
        one = Record.__dict__[name]
        if isinstance(one, property | cached_property):
            setattr(Record, name, property(noted(getattr(one, "func", None) or one.fget, list)))
        else:
            setattr(Record, name, noted(one, lambda *_: []))
    ledger, faults, ledgers = Record.ledger.fget, Record.faults.func, Record._ledgers.func  # type: ignore[attr-defined]
    Record.ledger = property(noted(ledger, lambda: ["ledger.jsonl"]))  # type: ignore[assignment, method-assign]
    Record.probes = property(noted(Record.probes.fget, lambda: ["ledger.jsonl"]))  # type: ignore
    Record.states = property(noted(Record.states.fget, lambda: STATES))  # type: ignore
    for name, one in list(vars(Record).items()):
        if isinstance(one, cached_property) and name not in ("_ledgers", "faults"):
            setattr(Record, name, property(one.func))  # computed each time, so that each check's read is noted
    kept = cached_property(noted(ledgers, list))
    kept.__set_name__(Record, "_ledgers")
    Record._ledgers = kept  # type: ignore[assignment, method-assign]

    def noted_faults(self: Record) -> tuple[FaultRecord, ...]:
        with NOTES.silence():
            found = faults(self)
            return tuple(
                NotedFault(**{field.name: getattr(one, field.name) for field in fields(FaultRecord)}) for one in found
            )

    Record.faults = property(noted_faults)  # type: ignore[assignment, method-assign]
    Record.torn = property(noted(Record.torn.fget, lambda: ["unreadable rows"]))  # type: ignore
    for name, source in WHOLE.items():
        setattr(Record, name, _attribute(name, source))
    Record.events = property(  # type: ignore[assignment]
        lambda self: NotedEvents(self.__dict__["events"]),
        lambda self, value: self.__dict__.__setitem__("events", tuple.__new__(tuple, value)),
    )
    for kind in catalog.checks().values():
        kind.check = _run(kind.check)


def _of_first(kind: Kind, subject: str | None = None) -> list[str]:
    return [f"timeline: {kind.value}"]


def _of_signal(name: str, subject: str = "") -> list[str]:
    return [f"signals.csv: {name}"]


def _attribute(name: str, source: str) -> property:
    def get(self: Record) -> Any:
        NOTES.note(source)
        return self.__dict__[name]

    return property(get, lambda self, value: self.__dict__.__setitem__(name, value))


def _run(original: Callable[[Any, Record], Any]) -> Callable[[Any, Record], Any]:
    @functools.wraps(original)
    def check(self: Any, record: Record) -> Any:
        NOTES.declared[name_of(self)].update(declared(self))
        NOTES.running.append(self)
        try:
            return original(self, record)
        finally:
            NOTES.running.pop()

    return check


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get(RESULT):
        instrument()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if path := os.environ.get(RESULT):
        Path(path).write_text(json.dumps(NOTES.result(), indent=1), encoding="utf-8")


def recorded() -> dict[str, dict[str, list[str]]]:
    """Run the checks' tests under the recorder. Raises AssertionError when they cannot run."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "sources.json"
        command = [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN, "-p", "no:cacheprovider", "tests/checks"]
        environment = {**os.environ, RESULT: str(result), "PYTEST_ADDOPTS": ""}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode in RAN, done.stdout[-3000:] + done.stderr[-3000:]
        found: dict[str, dict[str, list[str]]] = json.loads(result.read_text(encoding="utf-8"))
        return found


def wrong(found: dict[str, dict[str, list[str]]]) -> list[str]:
    """Sources that a check reads and does not declare, or declares and never reads; and checks that no test ran."""
    problems = [f"{name}: no test of tests/checks runs it" for name in sorted(set(catalog.checks()) - set(found))]
    for name, one in found.items():
        problems += [f"{name} reads {source!r} and does not declare it" for source in one["undeclared"]]
        unread = sorted(set(one["declared"]) - set(one["read"]))
        problems += [f"{name} declares {source!r} and never reads it" for source in unread]
    return problems


def compact(sources: Iterable[str]) -> list[str]:
    """The opposite of expanded(): all of one file in one text, or in several when that is too long."""
    files: dict[str, list[str]] = defaultdict(list)
    for source in sorted(sources):
        file, _, part = source.partition(": ")
        files[file].append(part)
    texts = []
    for file, parts in files.items():
        lines = textwrap.wrap(", ".join(parts), WIDTH, break_long_words=False, break_on_hyphens=False)
        texts += [f"{file}: {line.rstrip(',')}" for line in lines] or [file]
    return texts


def write(name: str, sources: Iterable[str]) -> None:
    """Enter *sources* into the class of a check, below its fields."""
    path = CHECKS / f"{name}.py"
    text = path.read_text(encoding="utf-8")
    words = ", ".join(json.dumps(one) for one in compact(sources))
    entry = f"    sources: ClassVar[tuple[str, ...]] = ({words},)\n"
    tree = ast.parse(text)
    kind = catalog.checks()[name].__name__
    (node,) = [one for one in tree.body if isinstance(one, ast.ClassDef) and one.name == kind]
    lines = text.splitlines(keepends=True)
    own = [one for one in node.body if isinstance(one, ast.AnnAssign)]
    old = [one for one in own if ast.unparse(one.target) == "sources"]
    if old:
        lines[old[0].lineno - 1 : old[0].end_lineno] = [entry]
    else:
        lines.insert(own[-1].end_lineno or 0, entry)
    text = "".join(lines)
    if "ClassVar" not in text.partition("class ")[0]:
        typing = re.search(r"^from typing import (.*)$", text, re.M)
        if typing:
            names = ", ".join(sorted({*typing.group(1).split(", "), "ClassVar"}))
            text = text.replace(typing.group(0), f"from typing import {names}", 1)
        else:
            text = re.sub(r"^(from harness)", r"from typing import ClassVar\n\n\1", text, count=1, flags=re.M)
            text = text.replace("\n\nfrom typing import ClassVar", "\nfrom typing import ClassVar", 1)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help="with --write: only these")
    parser.add_argument("--write", action="store_true", help="enter what was read as the checks' sources")
    options = parser.parse_args()
    found = recorded()
    problems = wrong(found)
    print("\n".join(problems) or f"{len(found)} checks declare what they read")
    if not options.write:
        return 1 if problems else 0
    changed = {problem.split()[0].rstrip(":") for problem in problems} & set(found)
    for name in sorted(changed & set(options.checks) if options.checks else changed):
        write(name, found[name]["read"])
        print(f"wrote {name}")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", str(CHECKS)], cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
