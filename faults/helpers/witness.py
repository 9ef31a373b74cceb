"""Witnesses of a fault's magnitude: measured here, in the harness's process, never from what the helper says.

A reader gets the effect, for the helper's identity, and gives what it sees. Level is a value that is there at each
moment, Rate a counter's growth a second, Total its growth since the injection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gevent

from harness.contracts import Target
from harness.loopback import Client
from harness.model import Effect

Read = Callable[[Effect], float | None]
Counted = tuple[float, float]  # when, how many so far
Count = Callable[[Effect], Counted | None]
POLL_EVERY_S = 0.4
LAST_LOOK_S = 2.0
PACE_S = 1.0  # from so many seconds on the growth of a counter shows a rate
PAGE_S = 0.1  # so much older than the answer what a page tells may be
NOTHING_DONE = Effect()


@dataclass
class Level:
    """The mean of what *read* gives."""

    read: Read
    error: float = 0.0
    values: list[float] = field(default_factory=list)
    more: Callable[[], Mapping[str, float]] = dict
    also_names: Mapping[str, str] = field(default_factory=dict)
    taken: bool = False  # whether the last look gave a value

    def sample(self, effect: Effect) -> float | None:
        value = self.read(effect)
        self.taken = value is not None
        if value is not None:
            self.values.append(value)
        return value

    def attained(self) -> None:
        del self.values[: -1 if self.taken else None]  # the last one was taken in the same look

    def ended(self) -> None:
        if self.taken:
            del self.values[-1:]  # it was taken when the fault was over

    def mean(self) -> float | None:
        return sum(self.values) / len(self.values) if self.values else None

    def also(self) -> Mapping[str, float]:
        return self.more()

    def finish(self, effect: Effect) -> None:
        pass


@dataclass
class Rate:
    """How fast *count* grows, times *scale*; mean() is over the whole time, so that no gap between looks matters."""

    count: Count
    scale: float = 1.0
    error: float = 0.0
    first: Counted | None = None
    last: Counted | None = None
    also_names: Mapping[str, str] = field(default_factory=dict)

    def sample(self, effect: Effect) -> float | None:
        now, before = self.count(effect), self.last
        if now is None:
            return None
        if before is not None and now[1] < before[1]:  # the counter has begun anew
            self.first = before = None
        self.last = now
        self.first = self.first or now
        return self._per_s(before, now) if before is not None else None

    @property
    def seen_s(self) -> float | None:
        """When the last value was read; one that is asked for in a greenlet may be old."""
        return self.last[0] if self.last else None

    def _per_s(self, since: Counted, until: Counted) -> float | None:
        elapsed_s = until[0] - since[0]
        return self.scale * (until[1] - since[1]) / elapsed_s if elapsed_s > 0 else None

    def attained(self) -> None:
        self.first = self.last

    def ended(self) -> None:
        pass

    def mean(self) -> float | None:
        return self._per_s(self.first, self.last) if self.first and self.last else None

    def also(self) -> Mapping[str, float]:
        return {}

    def finish(self, effect: Effect) -> None:
        pass


@dataclass
class Total:
    """How much *count* has grown since this was made, before the injection, without what *less* says."""

    count: Count
    less: Callable[[], float] = lambda: 0.0
    more: Callable[[], Mapping[str, float]] = dict
    also_names: Mapping[str, str] = field(default_factory=dict)
    error: float = 0.0
    again: Callable[[], None] = lambda: None  # makes count() read anew, at the end
    name: str = ""  # in words, where it is not always the same
    route: str = ""  # on which it counts everybody's requests, where it does
    before: float | None = None
    value: float | None = None
    steps: list[Counted] = field(default_factory=list)  # each count that was another than the one before

    def __post_init__(self) -> None:
        start = self.count(NOTHING_DONE)
        self.before = start[1] if start else None
        self.steps += [start] if start else []

    def sample(self, effect: Effect) -> float | None:
        now = self.count(effect)
        if now is None or self.before is None:
            return None
        self.value = now[1] - self.before - self.less()
        if now[1] != self.steps[-1][1]:
            self.steps.append(now)
        return self.value

    def pace(self) -> float | None:
        """How many came a second at the most, while they came; None when that was too short, or the counter fell.

        Neither the first step counts, which began at some time before it, nor the last, which ended so.
        """
        inner = self.steps[1:-1]
        if len(inner) < 2 or inner[-1][0] - inner[0][0] < PACE_S or inner[-1][1] < inner[0][1]:
            return None
        return (inner[-1][1] - inner[0][1]) / (inner[-1][0] - inner[0][0] - PAGE_S)

    def attained(self) -> None:
        pass

    def ended(self) -> None:
        pass

    def mean(self) -> float | None:
        return self.value

    def also(self) -> Mapping[str, float]:
        return self.more()

    def finish(self, effect: Effect) -> None:
        self.again()
        self.sample(effect)


class Polled:
    """The last value of *ask*, which may block: asked every POLL_EVERY_S in a greenlet of its own, while it is used.

    The time of a value is the middle of the question.
    """

    def __init__(self, ask: Callable[[], float | None], every_s: float = POLL_EVERY_S) -> None:
        self.ask, self.every_s = ask, every_s
        self.last: Counted | None = None
        self.problem = ""
        self.used_s = time.monotonic()
        self.look()
        self._greenlet = gevent.spawn(self._poll)

    def look(self) -> None:
        start_s = time.monotonic()
        try:
            value = self.ask()
        except Exception as error:
            self.problem = f"{type(error).__name__}: {error}"
            return
        if value is not None:
            self.last = ((start_s + time.monotonic()) / 2, value)

    def _poll(self) -> None:
        while time.monotonic() - self.used_s < 10 * POLL_EVERY_S:
            gevent.sleep(self.every_s)
            self.look()

    def __call__(self, effect: Effect) -> Counted | None:
        self.used_s = time.monotonic()
        return self.last


def counter(target: Target, name: str) -> Polled:
    """The target's own counter *name*, over all of its labels. Raises KeyError, in words, where it has none."""
    return _page(target, name, "")


def requests_counter(target: Target, route: str) -> Polled:
    """How many requests of *route* the target has answered by its own count."""
    return _page(target, "http_requests", f'route="{route}"')


def _page(target: Target, name: str, label: str) -> Polled:
    metrics: Mapping[str, Any] = target.signals.get("metrics", {})
    family = metrics.get("counters", {}).get(name)
    if family is None:
        raise LookupError(f"the manifest has no signals.metrics.counters.{name}")
    client = Client(target.base_url, timeout_s=LAST_LOOK_S, permitted=target.permitted)

    def ask() -> float | None:
        status, _, content = client.send("GET", metrics["url"])
        return counted(content.decode(errors="replace"), family, label) if status == 200 else None

    return Polled(ask)


def counted(text: str, family: str, label: str = "") -> float | None:
    """The sum of *family* over the samples whose labels hold *label*; None where the page does not have it.

    With a label a page that has the family at all counts 0 for one that was not seen yet.
    """
    total: float | None = None
    for line in text.splitlines():
        name, _, rest = line.partition("{") if "{" in line else line.partition(" ")
        if name == family:
            labels, value = rest.rpartition("}")[::2] if "{" in line else ("", rest)
            total = (total or 0.0) + (float(value.split()[0]) if label in labels else 0.0)
    return total


@dataclass
class Slower:
    """The slower of two rates: both must show what was asked for."""

    one: Rate
    other: Rate
    error: float = 0.0

    def sample(self, effect: Effect) -> float | None:
        values = self.one.sample(effect), self.other.sample(effect)
        return _least(values)

    def attained(self) -> None:
        self.one.attained()
        self.other.attained()

    def ended(self) -> None:
        pass

    def mean(self) -> float | None:
        return _least((self.one.mean(), self.other.mean()))

    @property
    def seen_s(self) -> float | None:
        return _least((self.one.seen_s, self.other.seen_s))

    def also(self) -> Mapping[str, float]:
        return {}

    def finish(self, effect: Effect) -> None:
        pass


def _least(values: tuple[float | None, float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return min(known) if len(known) == len(values) else None


class Ever(Level):
    """How many things *look* has shown changed so far, while at least one of them is; 0 when none is any more."""

    def __init__(self, look: Callable[[], set[str] | None]) -> None:
        super().__init__(lambda _: self._count())
        self.look = look
        self.seen: set[str] = set()

    def _count(self) -> float | None:
        now = self.look()
        if now is None:
            return None
        self.seen |= now
        return float(len(self.seen)) if now else 0.0
