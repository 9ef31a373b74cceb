"""What has happened since the last flush, and in all: by name, outcome and status, with every latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from locustfiles.engine.histogram import Histogram, lowest_equal

Key = tuple[str, str, int]  # name, outcome, status; status 0: no answer came
FAILED = "failed"


@dataclass(frozen=True)
class Batch:
    """The requests of one key that ended since the last flush."""

    name: str
    outcome: str
    status: int
    count: int
    bytes: int
    sum_us: int
    lowest_us: int
    highest_us: int
    latencies_us: dict[int, int]  # {lowest of a bucket: how many}
    errors: dict[str, int] = field(default_factory=dict)  # {why: how many}


class Tally:
    """Of one key, what has come since the last flush."""

    __slots__ = ("bytes", "count", "errors", "highest_us", "latencies_ns", "latencies_us", "lowest_us", "sum_ns")

    def __init__(self) -> None:
        self.latencies_ns: list[int] = []  # not yet folded
        self.latencies_us: dict[int, int] = {}
        self.count = self.bytes = self.sum_ns = self.lowest_us = self.highest_us = 0
        self.errors: dict[str, int] = {}

    def fold(self, latencies_ns: list[int]) -> None:
        """Sorts *latencies_ns* into buckets, and empties it."""
        if not latencies_ns:
            return
        buckets = self.latencies_us
        for value_us, count in Counter([ns // 1000 for ns in latencies_ns]).items():
            bucket = lowest_equal(value_us)
            buckets[bucket] = buckets.get(bucket, 0) + count
        lowest_us, highest_us = min(latencies_ns) // 1000, max(latencies_ns) // 1000
        self.lowest_us = min(self.lowest_us, lowest_us) if self.count else lowest_us
        self.highest_us = max(self.highest_us, highest_us)
        self.count += len(latencies_ns)
        self.sum_ns += sum(latencies_ns)
        latencies_ns.clear()


class Counts:
    """*totals*, *bytes* and *histograms* are of everything that was flushed."""

    def __init__(self) -> None:
        self._tallies: dict[Key, Tally] = {}
        self._shapes: dict[bytes, tuple[Key, int, list[int]]] = {}
        self._fresh: set[bytes] = set()  # heads that have come since the last flush
        self.known: dict[bytes, tuple[int, Callable[[int], None]]] = {}  # head: (length of all, what counts it)
        self.totals: Counter[Key] = Counter()
        self.errors: Counter[tuple[str, str]] = Counter()
        self.bytes = 0
        self.histograms: dict[Key, Histogram] = {}

    def add(self, name: str, outcome: str, status: int, latency_ns: int, size: int, why: str = "") -> None:
        key = (name, outcome, status)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally()
        tally.latencies_ns.append(latency_ns)
        tally.bytes += size
        if outcome == FAILED:
            why = why or f"status {status}"
            tally.errors[why] = tally.errors.get(why, 0) + 1

    def learn(self, head: bytes, whole: int, key: Key, size: int) -> None:
        """From now on the fast path counts an answer of *whole* bytes with this *head* under *key* by itself."""
        if head in self._shapes:
            return
        latencies: list[int] = []
        self._shapes[head] = (key, size, latencies)
        self.known[head] = (whole, latencies.append)

    def fold(self) -> None:
        """To be called often: how long it takes grows with what has come since, and nobody else runs meanwhile."""
        for head, (key, size, latencies_ns) in self._shapes.items():
            if latencies_ns:
                tally = self._tallies.get(key)
                if tally is None:
                    tally = self._tallies[key] = Tally()
                tally.bytes += size * len(latencies_ns)
                tally.fold(latencies_ns)
                self._fresh.add(head)
        for tally in self._tallies.values():
            tally.fold(tally.latencies_ns)

    def flush(self) -> list[Batch]:
        self.fold()
        for head in self._shapes.keys() - self._fresh:  # of an earlier second, say
            del self._shapes[head], self.known[head]
        self._fresh.clear()
        batches = [self._batch(key, tally) for key, tally in self._tallies.items()]
        self._tallies.clear()
        return batches

    def _batch(self, key: Key, tally: Tally) -> Batch:
        self.totals[key] += tally.count
        self.bytes += tally.bytes
        self.errors.update({(key[0], why): count for why, count in tally.errors.items()})
        sums = (tally.sum_ns // 1000, tally.lowest_us, tally.highest_us)
        self.histograms.setdefault(key, Histogram()).add_buckets(tally.latencies_us, tally.count, *sums)
        return Batch(*key, tally.count, tally.bytes, *sums, tally.latencies_us, tally.errors)

    def histogram(self, *outcomes: str) -> Histogram:
        """All that was flushed, or what had one of *outcomes*."""
        whole = Histogram()
        for (_, outcome, _), one in self.histograms.items():
            if not outcomes or outcome in outcomes:
                whole.extend(one)
        return whole
