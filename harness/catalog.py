"""Finds the parts that live one a file: folder → {stem: class}; builds them and words the errors."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.model import Claim

LARGEST = 1e6
SHOWN_MAX = 80
SURELY, PERHAPS = 0.7, 0.6  # how alike two words must be; perhaps: if they are short or have a part in common
SHORT = 4
# What scenarios for Grace ask for, and nothing here does yet: no slip of the pen, so no word is nearest to it.
NOT_YET = ("byzantine_injection", "data_poisoning", "dependency_deadlock", "external_attack", "instance_kill")


class CatalogError(Exception):
    """A name or a parameter that no part knows; the text says which, what is known and what is nearest."""


def nearest(word: str, known: Iterable[str]) -> str:
    """' Did you mean 'x'?' or nothing, and what is known."""
    choices = sorted(known)
    close = difflib.get_close_matches(str(word), choices, 1, SURELY)
    some = difflib.get_close_matches(str(word), choices, 3, PERHAPS)
    close += [one for one in some if len(one) <= SHORT or set(one.split("_")) & set(str(word).split("_"))]
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{hint} Known: {', '.join(one[:SHOWN_MAX] for one in choices) or 'none'}"


def shown(value: object) -> str:
    """A culprit as it is written, short."""
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."


@cache
def parts(package: str, attribute: str) -> dict[str, Any]:
    """{stem: class} of the modules of *package* that have *attribute* (FAULT, CHECK, OBSERVER, REPORTER)."""
    found = {}
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        loaded = importlib.import_module(f"{package}.{module.name}") if not module.ispkg else None
        if hasattr(loaded, attribute):
            found[module.name] = getattr(loaded, attribute)
    return found


def faults() -> dict[str, Any]:
    return parts("faults", "FAULT")


def checks() -> dict[str, Any]:
    return parts("harness.checks", "CHECK")


def build_check(name: str, claim: str, values: Mapping[str, Any]) -> Any:
    """The check that judges *claim*. Raises CatalogError when there is none of that name."""
    kind = checks().get(name)
    if kind is None:
        raise CatalogError(
            f"no check is called {name!r} here; if it is somebody's own, GRACE_PARTS must name its folder"
        )
    return kind(claim=claim, **values)


def observers_of(claim: Claim) -> tuple[str, ...]:
    """The observers, by the stem of their file, without which *claim* cannot be judged."""
    try:
        return tuple(getattr(build_check(claim.check, claim.claim, claim.args), "observers", ()))
    except CatalogError:
        return ()


def plain_checks() -> list[str]:
    """The checks that a verification may name as they are: those that need no argument."""
    return [name for name, kind in checks().items() if _needed(kind) == {"claim"}]


def _needed(kind: Any) -> set[str]:
    return {one.name for one in fields(kind) if one.default is MISSING and one.default_factory is MISSING}


def invariants() -> dict[str, Any]:
    """{name: check} of the checks that belong to every run by an attribute `invariant`, in their order."""
    found = {name: kind for name, kind in checks().items() if getattr(kind, "invariant", None) is not None}
    return dict(sorted(found.items(), key=lambda one: one[1].invariant.order))


def observers() -> dict[str, Any]:
    return parts("harness.observers", "OBSERVER")


def reporters() -> dict[str, Any]:
    return parts("reports", "REPORTER")


def build_fault(name: str, values: Mapping[str, Any]) -> Any:
    """An injector from its YAML. Raises CatalogError for an unknown type, parameter, or a value that cannot be."""
    kind = faults().get(name)
    if kind is None and name in NOT_YET:
        raise CatalogError(f"{shown(name)} is known, but this version has no injector for it.{nearest('', faults())}")
    if kind is None:
        raise CatalogError(f"no fault is called {shown(name)}.{nearest(name, faults())}")
    known = {one.name: one for one in fields(kind)}
    for key in values:
        if key not in known:
            raise CatalogError(f"{name} has no parameter {shown(key)}.{nearest(key, known)}")
    for key, one in known.items():
        if key not in values and one.default is MISSING and one.default_factory is MISSING:
            raise CatalogError(f"{name} needs {key}")
    for key, value in values.items():
        _fits(name, key, value, str(known[key].type))
        words = getattr(kind, "choices", {}).get(key)
        if words and value not in words:
            raise CatalogError(f"{name}.{key}: no {key} is called {shown(value)}.{nearest(str(value), words)}")
    try:
        return kind(**values)
    except ValueError as error:  # what a fault itself finds wrong with its values
        raise CatalogError(f"{name}.{error}") from None


def _fits(name: str, key: str, value: Any, wanted: str) -> None:
    if wanted == "str" and (not isinstance(value, str) or not value):
        raise CatalogError(f"{name}.{key}: a text is expected, not {shown(value)}")
    if wanted in ("float", "int"):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise CatalogError(f"{name}.{key}: a number is expected, not {shown(value)}")
        if key.endswith("_ratio") and value == 0:
            return  # none of them: what it is when it is left out
        if not 0 < value < LARGEST or (key.endswith("_percent") and value > 100):
            limit = "above 0 and at most 100" if key.endswith("_percent") else f"above 0 and below {LARGEST:g}"
            raise CatalogError(f"{name}.{key}: {limit} is expected, not {shown(value)}")
