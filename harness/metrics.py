"""The metrics that a verification may compare: name → what the record shows of it. None is not zero: it is unknown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

from harness.checks import early
from harness.ledger import LEGITIMATE
from harness.record import Record, cite_rows
from harness.traffic import RequestRow, Traffic

Value = tuple[float, tuple[str, ...]] | None  # (value, evidence)
PEAK_WINDOW_S = 2.0
REQUESTS_MIN = 20  # a percentile of fewer is that of one or two of them


def _during(record: Record) -> tuple[float, float] | None:
    """From the first injection to the end of the last fault (or of the run, when none of them ended)."""
    start = record.first_injection_s
    if start is None:
        return None
    end = record.last_fault_end_s
    return start, record.end_s if end is None else end


def _asked(record: Record) -> list[RequestRow]:
    """What anybody was answered who had asked before the last fault ended: who is left hanging is answered later."""
    window = _during(record)
    return [] if window is None else [part for row in record.requests if (part := _part(row, *window))]


def _part(row: RequestRow, since_s: float, until_s: float) -> RequestRow | None:
    """Those of a row that ended after *since_s* and had been asked before *until_s*; None for nobody."""
    if row.at_s < since_s:
        return None
    if row.at_s <= until_s:
        return row
    spread = tuple((ms, count) for ms, count in row.latency_ms if row.at_s - ms / 1000.0 <= until_s)
    return replace(row, count=sum(count for _, count in spread), latency_ms=spread) if spread else None


def _users(record: Record) -> list[RequestRow]:
    return [row for row in _asked(record) if row.user == LEGITIMATE]


def _peak(signal: str, *subjects: str) -> Callable[[Record], Value]:
    """Of the machine, and of each of *subjects* that has such a signal: the highest of them."""

    def value(record: Record) -> Value:
        window = _during(record)
        if window is None:
            return None
        series = (record.signals(signal, subject).between(*window) for subject in ("", *subjects))
        best = max(filter(None, (one.highest_mean(PEAK_WINDOW_S) for one in series)), default=None)
        return None if best is None else (best[0], (f"signals.csv:{best[1]}",))

    return value


def _acl_violations(record: Record) -> Value:
    """What the target has counted more than at the end of the baseline: a target that lives long has old counts.

    One that was not told to the end, or that began anew meanwhile, does not say how many there were.
    """
    baseline = record.baseline
    if baseline is None:
        return None
    series = record.signals("message_bus.acl_violations")
    before = [row for row in series.rows if row[0] <= baseline.at_s]
    after = [row for row in series.rows if row[0] > baseline.at_s]
    fell = any(now[1] < last[1] for last, now in pairwise([*before[-1:], *after]))
    if not before or not after or fell or early(record, series):
        return None
    return after[-1][1] - before[-1][1], (f"signals.csv:{before[-1][2]}", f"signals.csv:{after[-1][2]}")


def _latency(percent: float) -> Callable[[Record], Value]:
    def value(record: Record) -> Value:
        rows = _users(record)
        found = _percentile(Traffic.of(rows), percent)
        if found is None:
            return None
        return found, cite_rows(row for row in rows if row.latency_ms and row.latency_ms[-1][0] >= found)

    return value


def _percentile(traffic: Traffic, percent: float) -> float | None:
    """None when too few were served to know."""
    served = sum(count for _, count in traffic.latencies)
    return traffic.percentile(percent) if served >= REQUESTS_MIN else None


def _failure_percent(record: Record) -> Value:
    rows = _users(record)
    if not rows:
        return None
    failed = [row for row in rows if row.outcome == "failed"]
    return Traffic.of(rows).failed_percent, cite_rows(failed or (rows[0], rows[-1]))


def _flood(record: Record) -> list[RequestRow]:
    """What anybody but the legitimate users sent; an invalid request that was told so is a right answer."""
    rows = [row for row in _asked(record) if row.user != LEGITIMATE]
    return [replace(row, outcome="ok") if row.outcome == "rejected" else row for row in rows]


def _flood_latency_p99(record: Record) -> Value:
    """Of all that was served or failed; who is told to come again has been answered, but not served."""
    rows = [row for row in _flood(record) if row.outcome in ("ok", "failed")]
    found = _percentile(Traffic.of(rows), 99)
    return None if found is None else (found, cite_rows(row for row in rows if row.latency_ms[-1][0] >= found))


def _flood_failure_percent(record: Record) -> Value:
    rows = _flood(record)
    if not rows:
        return None
    failed = [row for row in rows if row.outcome == "failed"]
    return Traffic.of(rows).failed_percent, cite_rows(failed or (rows[0], rows[-1]))


def _queue_depth_at_end(record: Record) -> Value:
    """The last that the target told of its queue of intents, when all faults had ended and until nobody looked."""
    over = record.last_fault_end_s
    series = record.signals("htm_queue_depth")
    rows = series.rows
    if over is None or not rows or rows[-1][0] <= over or early(record, series):
        return None
    return rows[-1][1], (f"signals.csv:{rows[-1][2]}",)


METRICS: dict[str, Callable[[Record], Value]] = {
    "message_bus.acl_violations": _acl_violations,
    "cpu_usage_peak": _peak("cpu_percent"),
    "memory_usage_peak": _peak("memory_percent", "target"),
    "disk_io_peak": _peak("disk_busy_percent"),
    "latency_p50": _latency(50),
    "latency_p95": _latency(95),
    "latency_p99": _latency(99),
    "failure_percent": _failure_percent,
    "flood_latency_p99": _flood_latency_p99,
    "flood_failure_percent": _flood_failure_percent,
    "queue_depth_at_end": _queue_depth_at_end,
}

DURING = "timeline: fault_injected, fault_ended"
REQUESTS = (DURING, "requests.csv")
# What each reads of the run folder, in the words of a check's `sources`.
SOURCES: dict[str, tuple[str, ...]] = {
    "message_bus.acl_violations": ("timeline: steady_state_met", "signals.csv: message_bus.acl_violations"),
    "cpu_usage_peak": (DURING, "signals.csv: cpu_percent"),
    "memory_usage_peak": (DURING, "signals.csv: memory_percent"),
    "disk_io_peak": (DURING, "signals.csv: disk_busy_percent"),
    "latency_p50": REQUESTS,
    "latency_p95": REQUESTS,
    "latency_p99": REQUESTS,
    "failure_percent": REQUESTS,
    "flood_latency_p99": REQUESTS,
    "flood_failure_percent": REQUESTS,
    "queue_depth_at_end": ("timeline: fault_ended", "signals.csv: htm_queue_depth"),
}

# The unit of each: what a verification compares must be written in it, or in one that converts to it.
UNITS: dict[str, str] = {
    "message_bus.acl_violations": "",
    "cpu_usage_peak": "%",
    "memory_usage_peak": "%",
    "disk_io_peak": "%",
    "latency_p50": "ms",
    "latency_p95": "ms",
    "latency_p99": "ms",
    "failure_percent": "%",
    "flood_latency_p99": "ms",
    "flood_failure_percent": "%",
    "queue_depth_at_end": "",
}
PERCENTILES = ("latency_p50", "latency_p95", "latency_p99", "flood_latency_p99")
# What the harness measures itself; the others are counters that the target tells.
MEASURED = frozenset(UNITS) - {"message_bus.acl_violations", "queue_depth_at_end"}
