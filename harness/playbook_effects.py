"""The manifest key `playbook_effects`: which work each playbook defers, refuses, cuts off or answers from a store."""

from __future__ import annotations

from collections.abc import Collection

from harness.catalog import nearest
from harness.yaml_reader import Field, Reader

DEFERRABLE = "intent.deferrable"  # an intent whose priority is below NORMAL
WORK = ("intent", DEFERRABLE, "retrospective", "decision", "knowledge")  # what rows of the ledger may call their work
DEFERS, REFUSES, CUTS_OFF, SERVES_STALE = "defers", "refuses", "cuts_off", "serves_stale"
ACTOR = "actor"
Effects = dict[str, dict[str, tuple[str, ...]]]


def read_effects(reader: Reader, found: Field | None, playbooks: Collection[str], routes: Collection[str]) -> Effects:
    """{playbook: {effect: what it names}} of a manifest; what is not known is reported with its line."""
    effects: Effects = {}
    for name, one in reader.mapping(found.value, "playbook_effects").items() if found else ():
        what = f"playbook_effects.{name}"
        if name not in playbooks:
            reader.say_of(one, f"{what}: no playbook is called {name!r}.{nearest(name, playbooks)}")
        effects[name] = {}
        for key, value in reader.mapping(one.value, what, (DEFERS, REFUSES, CUTS_OFF, SERVES_STALE)).items():
            known = {CUTS_OFF: (ACTOR,), SERVES_STALE: routes}.get(key, WORK)
            effects[name][key] = _words(reader, value, f"{what}.{key}", known, alone=key == CUTS_OFF)
    return effects


def _words(reader: Reader, found: Field, what: str, known: Collection[str], alone: bool) -> tuple[str, ...]:
    words = (reader.text(found.value, what),) if alone else reader.names(found.value, what)
    for word in words:
        if word and word not in known:
            reader.say_of(found, f"{what}: {word!r} is not known.{nearest(word, known)}")
    return words
