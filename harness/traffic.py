"""Requests, counted in bins of 100 ms, and what a stretch of them was like."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

BIN_S = 0.1
HEADER = ("at_s", "user", "name", "outcome", "status", "count", "latency_ms")


@dataclass(frozen=True)
class RequestRow:
    """How many requests of one kind ended in one bin, and after how many milliseconds: ((ms, n), ...)."""

    at_s: float
    user: str
    name: str
    outcome: str  # ok, stale (from a store), shed, limited, failed; of attacks also rejected: an invalid one
    status: int
    count: int
    latency_ms: tuple[tuple[int, int], ...]
    line: int = field(default=0, compare=False)  # of requests.csv; 0: it was not read from there

    def cells(self) -> tuple[object, ...]:
        spread = " ".join(f"{ms}:{n}" for ms, n in self.latency_ms)
        return (round(self.at_s, 1), self.user, self.name, self.outcome, self.status, self.count, spread)

    @staticmethod
    def from_cells(cells: Sequence[str], line: int = 0) -> RequestRow:
        """Raises ValueError, in words, for cells that are not those of a row."""
        if len(cells) != len(HEADER):
            raise ValueError(f"{len(cells)} cells instead of {len(HEADER)}")
        spread = tuple((int(ms), int(n)) for ms, _, n in (part.partition(":") for part in cells[6].split()))
        row = RequestRow(float(cells[0]), cells[1], cells[2], cells[3], int(cells[4]), int(cells[5]), spread, line)
        if not math.isfinite(row.at_s) or row.count < 1 or sum(n for _, n in spread) != row.count:
            raise ValueError(f"a count of {row.count} is not the sum of its latencies, or the time is none")
        if any(ms < 0 or n < 1 for ms, n in spread):
            raise ValueError(f"latencies {cells[6]!r} are none")
        return row


@dataclass(frozen=True)
class Traffic:
    """Totals of a stretch. *shed* and *limited* are answers of a safeguard, not failures."""

    count: int
    failed: int
    shed: int
    limited: int
    latencies: tuple[tuple[int, int], ...]  # of what was served: (ms, n), ascending

    @staticmethod
    def of(rows: Iterable[RequestRow]) -> Traffic:
        outcomes: Counter[str] = Counter()
        latencies: Counter[int] = Counter()
        for row in rows:
            outcomes[row.outcome] += row.count
            if row.outcome in ("ok", "stale", "failed"):
                latencies.update(dict(row.latency_ms))
        return Traffic(
            sum(outcomes.values()),
            outcomes["failed"],
            outcomes["shed"],
            outcomes["limited"],
            tuple(sorted(latencies.items())),
        )

    @property
    def served(self) -> int:
        return self.count - self.failed - self.shed - self.limited

    @property
    def failed_percent(self) -> float:
        return 100 * self.failed / self.count if self.count else 0.0

    def percentile(self, percent: float) -> float | None:
        """The latency in ms below which *percent* of the served requests stayed; None without any."""
        total = sum(n for _, n in self.latencies)
        if not total:
            return None
        left = percent / 100 * total
        for ms, n in self.latencies:
            left -= n
            if left <= 1e-9:
                return float(ms)
        return float(self.latencies[-1][0])


class RequestLog:
    """Counts requests as they end; take() gives the bins that are over. *now* is the clock of its node."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self._bins: dict[tuple[float, str, str, str, int], Counter[int]] = {}

    def add(self, user: str, name: str, outcome: str, status: int, latency_ms: float) -> None:
        self.add_spread(user, name, outcome, status, {latency_ms: 1})

    def add_spread(self, user: str, name: str, outcome: str, status: int, spread: Mapping[Any, int]) -> None:
        """Many that ended just now: {latency in ms: how many}."""
        at_s = int(self.now() / BIN_S) * BIN_S
        counted = self._bins.setdefault((at_s, user, name, outcome, status), Counter())
        for latency_ms, count in spread.items():
            counted[rounded(latency_ms)] += count

    def take(self, all_of_it: bool = False) -> list[RequestRow]:
        now = self.now()
        over = [key for key in self._bins if all_of_it or key[0] + BIN_S <= now]
        rows = []
        for key in sorted(over):
            spread = self._bins.pop(key)
            rows.append(RequestRow(*key, count=sum(spread.values()), latency_ms=tuple(sorted(spread.items()))))
        return rows


def rounded(latency_ms: float) -> int:
    """Whole milliseconds below 100, two digits above: a row stays short, an error stays below 5 %."""
    if latency_ms < 100:
        return round(latency_ms)
    if latency_ms < 1000:
        return int(round(latency_ms, -1))
    return int(round(latency_ms, -2))
