"""Reader of the manifest's `behaviour`: questions whose answers show which configuration and rules a target follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import yaml

from harness.catalog import nearest
from harness.contracts import BehaviourQuestion
from harness.yaml_reader import Field, Reader

KEY = "behaviour"
BEHAVIOUR_KEYS = ("name", "method", "path", "body", "ignore", "counts")
NEEDED = ("name", "method", "path")
METHODS = ("GET", "POST", "PUT")
QUESTIONS_MAX = 100


class ManifestReader(Protocol):
    """The part of harness/target.py that reads fields and tells what is wrong with them."""

    @property
    def reader(self) -> Reader: ...

    def fields(
        self, node: yaml.Node, what: str, known: Collection[str] | None, needed: Collection[str] = ()
    ) -> dict[str, Field]: ...

    def word(self, found: Field, what: str, known: Collection[str]) -> str: ...

    def request_path(self, found: Field, what: str) -> str: ...

    def body(self, found: Mapping[str, Field], what: str) -> Any: ...


def read_behaviour(
    manifest: ManifestReader, node: yaml.Node, ledgers: Collection[str]
) -> tuple[BehaviourQuestion, ...]:
    """Return the questions of *node*, a list; problems go to the manifest's reader with their lines."""
    found: dict[str, BehaviourQuestion] = {}
    items = manifest.reader.items(node, KEY)
    if len(items) > QUESTIONS_MAX:
        manifest.reader.say(node, f"{KEY}: {len(items)} questions; {QUESTIONS_MAX} are the limit")
    for number, item in enumerate(items):
        question = _question(manifest, item, f"{KEY}[{number}]", ledgers)
        if question is not None and question.name in found:
            manifest.reader.say(item, f"{KEY}[{number}]: {question.name!r} stands here twice")
        elif question is not None:
            found[question.name] = question
    return tuple(found.values())


def _question(
    manifest: ManifestReader, node: yaml.Node, what: str, ledgers: Collection[str]
) -> BehaviourQuestion | None:
    found = manifest.fields(node, what, BEHAVIOUR_KEYS, NEEDED)
    if not set(NEEDED) <= set(found):
        return None
    read = manifest.reader
    return BehaviourQuestion(
        name=read.text(found["name"].value, f"{what}.name"),
        method=manifest.word(found["method"], f"{what}.method", METHODS),
        path=manifest.request_path(found["path"], f"{what}.path"),
        body=manifest.body(found, what),
        ignore=read.names(found["ignore"].value, f"{what}.ignore") if "ignore" in found else (),
        counts=_counts(manifest, found["counts"].value, f"{what}.counts", ledgers) if "counts" in found else {},
    )


def _counts(manifest: ManifestReader, node: yaml.Node, what: str, ledgers: Collection[str]) -> dict[str, str]:
    """{dotted field: ledger}; each ledger must be one of the manifest's."""
    counts = {}
    for name, one in manifest.reader.mapping(node, what).items():
        ledger = manifest.reader.text(one.value, f"{what}.{name}")
        if ledger and ledger not in ledgers:
            manifest.reader.say_of(one, f"{what}.{name}: no ledger is called {ledger!r}.{nearest(ledger, ledgers)}")
        counts[name] = ledger
    return counts
