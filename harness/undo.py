"""Takes faults back: each primitive of an undo by the file of harness/primitives that knows it. Imports no fault."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from harness import primitives
from harness.model import Undo

TakeBack = Callable[[Mapping[str, Any], bool], tuple[str, bool]]


def _load() -> dict[str, TakeBack]:
    """{op: how it is taken back}, read once: healing must not depend on files that may be gone by then."""
    modules = (
        importlib.import_module(f"{primitives.__name__}.{one.name}")
        for one in pkgutil.iter_modules(primitives.__path__)
    )
    return {module.OP: module.take_back for module in modules}


PRIMITIVES = _load()


def heal(undo: Undo, complete: bool = True) -> list[dict[str, Any]]:
    """Takes every primitive back, the last first; each result says what was done and whether it is verified.

    *complete* is False when the injection may have been cut off half-way.
    """
    return [_heal_one(primitive, complete) for primitive in reversed(undo.primitives)]


def _heal_one(primitive: Mapping[str, Any], complete: bool) -> dict[str, Any]:
    op = str(primitive.get("op"))
    take_back = PRIMITIVES.get(op)
    if take_back is None:
        return {"op": op, "did": f"no primitive is called {op!r}", "verified": False}
    try:
        did, verified = take_back(primitive, complete)
    except (OSError, ValueError, KeyError) as error:
        did, verified = f"{type(error).__name__}: {error}", False
    return {"op": op, "did": did, "verified": verified}
