"""Reads the fields of a request: a wrong one is refused with its name and what was expected."""

from __future__ import annotations

from typing import Any

from twin.rpc import KernelError


def text(body: dict[str, Any], name: str, longest: int = 10_000, default: str | None = None) -> str:
    value = body.get(name, default)
    if not isinstance(value, str) or (default is None and not value) or len(value) > longest:
        raise KernelError(422, "invalid_field", field=name, expected=f"a text of at most {longest} characters")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise KernelError(422, "invalid_field", field=name, expected="a text of whole characters")
    return value


def number(body: dict[str, Any], name: str, low: float, high: float, default: float | None = None) -> float:
    value = body.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise KernelError(422, "invalid_field", field=name, expected=f"a number from {low:g} to {high:g}")
    return value


def word(body: dict[str, Any], name: str, known: tuple[str, ...], default: str | None = None) -> str:
    value = body.get(name, default)
    if value not in known:
        raise KernelError(422, "invalid_field", field=name, expected=f"one of {', '.join(known)}")
    return str(value)
