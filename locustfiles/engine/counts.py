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
    """Latencies and bytes of one key, not yet flushed."""

    __slots__ = ("bytes", "errors", "latencies_ns")

    def __init__(self) -> None:
        self.latencies_ns: list[int] = []
        self.bytes = 0
        self.errors: dict[str, int] = {}


class Counts:
    """*totals*, *bytes* and *histograms* are of everything that was flushed."""

    def __init__(self) -> None:
        self._tallies: dict[Key, Tally] = {}
        self._shapes: dict[bytes, tuple[Key, int, list[int]]] = {}
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

    def flush(self) -> list[Batch]:
        for head, (key, size, latencies) in list(self._shapes.items()):
            if not latencies:  # of an earlier second, say
                del self._shapes[head], self.known[head]
                continue
            tally = self._tallies.setdefault(key, Tally())
            tally.latencies_ns += latencies
            tally.bytes += size * len(latencies)
            latencies.clear()
        batches = [self._batch(key, tally) for key, tally in self._tallies.items()]
        self._tallies.clear()
        return batches

    def _batch(self, key: Key, tally: Tally) -> Batch:
        exact = Counter([ns // 1000 for ns in tally.latencies_ns])
        buckets: dict[int, int] = {}
        for value_us, count in exact.items():
            bucket = lowest_equal(value_us)
            buckets[bucket] = buckets.get(bucket, 0) + count
        total, sum_us = len(tally.latencies_ns), sum(tally.latencies_ns) // 1000
        self.totals[key] += total
        self.bytes += tally.bytes
        self.errors.update({(key[0], why): count for why, count in tally.errors.items()})
        histogram = self.histograms.setdefault(key, Histogram())
        histogram.add_buckets(buckets, total, sum_us, min(exact), max(exact))
        return Batch(*key, total, tally.bytes, sum_us, min(exact), max(exact), buckets, tally.errors)

    def histogram(self, *outcomes: str) -> Histogram:
        """All that was flushed, or what had one of *outcomes*."""
        whole = Histogram()
        for (_, outcome, _), one in self.histograms.items():
            if not outcomes or outcome in outcomes:
                whole.extend(one)
        return whole
