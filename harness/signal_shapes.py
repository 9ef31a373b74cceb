"""Answers of a target's signals, read with every field named that is not as expected: see docs/target.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class ShapeError(ValueError):
    """An answer of another shape than a signal has; the text names the field and what is expected there."""


@dataclass(frozen=True, kw_only=True)
class KernelTold:
    """A kernel as the target's control plane tells of it."""

    name: str
    state: str
    pid: int | None
    heartbeat_age_s: float | None
    restarts: int | None


@dataclass(frozen=True, kw_only=True)
class EventTold:
    """An event of the target."""

    seq: int
    topic: str
    timestamp: float
    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EngagedTold:
    """A safeguard that is engaged."""

    name: str
    subject: str
    incident_id: str | None


def kernels(answer: Any) -> list[KernelTold]:
    """The rows of `signals.kernels`. Raises ShapeError."""
    found = []
    for place, row in _rows(answer, "kernels"):
        age_s = _field(row, place, "heartbeat_age_s", (int, float), "a number of seconds or null", null=True)
        found.append(
            KernelTold(
                name=_field(row, place, "name", str, "a text"),
                state=_field(row, place, "state", str, "a text"),
                pid=_field(row, place, "pid", int, "a whole number or null", null=True, needed=False),
                heartbeat_age_s=age_s,
                restarts=_field(row, place, "restarts", int, "a whole number or null", null=True, needed=False),
            )
        )
    return found


def events(answer: Any) -> tuple[float, list[EventTold]]:
    """(the target's clock, its events) of `signals.events`. Raises ShapeError."""
    now = _field(_mapping(answer, "the answer"), "", "now", (int, float), "the target's clock, in epoch seconds")
    found = []
    for place, row in _rows(answer, "events"):
        found.append(
            EventTold(
                seq=_field(row, place, "seq", int, "a whole number"),
                topic=_field(row, place, "topic", str, "a text"),
                timestamp=_field(row, place, "timestamp", (int, float), "a time in epoch seconds"),
                payload=_field(row, place, "payload", Mapping, "a mapping"),
            )
        )
    return float(now), found


def engaged(answer: Any) -> list[EngagedTold]:
    """The safeguards of `signals.safeguards` that are engaged. Raises ShapeError."""
    found = []
    for place, row in _rows(answer, "safeguards"):
        name = _field(row, place, "name", str, "a text")
        for within, one in _rows(row, "engaged", f"{place}."):
            subject = _field(one, within, "subject", str, "a text")
            incident = _field(one, within, "incident_id", str, "a text or null", null=True, needed=False)
            found.append(EngagedTold(name=name, subject=subject, incident_id=incident))
    return found


def metrics(text: str) -> dict[str, float]:
    """{family: sum over its label sets} of a page in Prometheus's text format. Raises ShapeError without a sample."""
    found = samples(text)
    if not found:
        raise ShapeError("the page has no line of the form 'NAME VALUE': Prometheus's text format is expected")
    return found


def samples(text: str) -> dict[str, float]:
    """{family: sum over its label sets} of the Prometheus text format; lines that are not samples are passed over.

    A sample may carry a time after its value, which is not its value.
    """
    totals: dict[str, float] = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        labels_end = line.rfind("}") + 1
        name, value, *_ = [line[:labels_end], *line[labels_end:].split()] if labels_end else [*line.split(), ""]
        family = name.partition("{")[0].strip()
        try:
            totals[family] = totals.get(family, 0.0) + float(value)
        except ValueError:
            continue
    return totals


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ShapeError(f"{what}: a JSON object is expected, not {_shown(value)}")
    return value


def _rows(answer: Any, key: str, before: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    """(place, row) of the list under *key*."""
    rows = _field(_mapping(answer, "the answer"), before.rstrip("."), key, list, "a list")
    return [(f"{before}{key}[{number}]", _mapping(row, f"{before}{key}[{number}]")) for number, row in enumerate(rows)]


def _field(
    row: Mapping[str, Any], place: str, key: str, kind: Any, expected: str, *, null: bool = False, needed: bool = True
) -> Any:
    """The value of *key*; *null*: it may be null; not *needed*: it may be missing, and then is null."""
    what = f"{place}.{key}" if place else key
    if key not in row:
        if not needed:
            return None
        raise ShapeError(f"{what} is missing: {expected} is expected")
    value = row[key]
    if value is None and null:
        return None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ShapeError(f"{what}: {expected} is expected, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
