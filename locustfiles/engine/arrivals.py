"""Open loop: when requests are due, whether or not the target keeps up."""

from __future__ import annotations

import random
from typing import Protocol

NS = 1_000_000_000


class Arrivals(Protocol):
    gap_ns: float  # on average

    def next_ns(self, previous_ns: int) -> int:
        """When the arrival after that of *previous_ns* is due."""

    def from_ns(self, arrival_ns: int, at_ns: int) -> int:
        """The first arrival at or after *at_ns*, from that of *arrival_ns* on, which may be the one."""


class Constant:
    """Evenly spaced: *rate_per_s* a second, without drift."""

    def __init__(self, rate_per_s: float) -> None:
        self.gap_ns = NS / checked(rate_per_s)
        self._rest_ns = 0.0

    def next_ns(self, previous_ns: int) -> int:
        gap_ns = self.gap_ns + self._rest_ns
        whole_ns = int(gap_ns)
        self._rest_ns = gap_ns - whole_ns
        return previous_ns + whole_ns

    def from_ns(self, arrival_ns: int, at_ns: int) -> int:
        """Not one by one: a wait of half a minute may hold a million arrivals."""
        skipped = max(0, int((at_ns - arrival_ns) / self.gap_ns) - 1)
        whole_ns = skipped * self.gap_ns + self._rest_ns
        self._rest_ns = whole_ns - int(whole_ns)
        arrival_ns += int(whole_ns)
        while arrival_ns < at_ns:
            arrival_ns = self.next_ns(arrival_ns)
        return arrival_ns


class Poisson:
    """Independent of each other, as many unrelated clients are: exponential gaps, *rate_per_s* a second on average."""

    def __init__(self, rate_per_s: float, seed: object = 0) -> None:
        self.gap_ns = NS / checked(rate_per_s)
        self._random = random.Random(f"arrivals:{seed}")

    def next_ns(self, previous_ns: int) -> int:
        return previous_ns + int(self._random.expovariate(1 / self.gap_ns))

    def from_ns(self, arrival_ns: int, at_ns: int) -> int:
        """They have no memory: the wait for the next is as long from any time on."""
        return arrival_ns if arrival_ns >= at_ns else self.next_ns(at_ns)


def checked(rate_per_s: float) -> float:
    if not 0 < rate_per_s < NS:
        raise ValueError(f"a rate of {rate_per_s:g} requests a second is none")
    return rate_per_s


KINDS = ("constant", "poisson")


def named(kind: str, rate_per_s: float, seed: object = 0) -> Arrivals:
    if kind not in KINDS:
        raise ValueError(f"no arrivals are called {kind!r}; there are {', '.join(KINDS)}")
    return Constant(rate_per_s) if kind == "constant" else Poisson(rate_per_s, seed)
