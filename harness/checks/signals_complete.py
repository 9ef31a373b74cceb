"""Every source of signals was heard all the time, but for short gaps, and every observer looked all the time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from harness.checks import finding
from harness.model import Event, Finding, Kind, Verdict
from harness.observers.counters import OF
from harness.record import Record
from harness.required import FORMAT_KEY

GAP_S = 5.0
START_S = 10.0  # an observer's first look may wait for a target that is just there
# Sampled all the time by whoever looks at any target; the others only where the manifest offers them.
ALWAYS = ("cpu_percent", "memory_percent", "loop_lag_ms")
PERIODIC = (*ALWAYS, "disk_busy_percent", "kernel_heartbeat_age_s", "route_up", "events_heard")
HEARD = "events_heard"  # each look for events, from run folders of format 2 on
HEARS = ("signals.events", "signals.safeguards")  # what a manifest must have, so that somebody looks for events
LOOKED, OBSERVERS = "looked", "observers"  # what an observer has said, and in RUN_STARTED how often it was to look
# Each look of these says something, or they have not looked. Observers of somebody's own may tell changes alone.
SPEAK = (
    *("audit_head", "bus_listener", "control_plane", "counters", "events", "file_hashes", "loop_lag"),
    *("model_answers", "model_fallback", "processes", "resources", "routes"),
)
ROUTES = "routes of "  # probes that may change the target's state stop before it is read back
EACH = ("route_up",)  # each of these is asked by an observer of its own, which may fall silent alone


@dataclass(frozen=True, kw_only=True)
class SignalsComplete:
    """A source that said itself that it is lost, and an observer or a series that fell silent without a word."""

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "signals.csv: cpu_percent, disk_busy_percent, events_heard, kernel_heartbeat_age_s, loop_lag_ms",
        "signals.csv: looked, memory_percent, route_up",
        "timeline: fault_injected, recovered, run_started, signal_back, signal_lost",
    )

    def check(self, record: Record) -> Finding:
        problems, evidence = _lost(record)
        for name in (*ALWAYS, *_needed(record)):
            if not record.signal_times(name):
                problems.append(f"{name} was never measured")
        for observer, every_s, looks in _looks(record):
            if not looks:
                problems.append(f"{observer} never looked")
            elif gap := _gap(looks, record.load_end_s if observer.startswith(ROUTES) else record.end_s, every_s):
                problems.append(f"{observer} did not look for {gap[1]:.1f} s")
                evidence.append(f"signals.csv:{gap[0]}")
        for what, times in _series(record):
            # probes that may change the target's state stop before it is read back
            gap = _gap(times, record.load_end_s if what.startswith(EACH) else record.end_s)
            if gap:
                problems.append(f"{what} was not sampled for {gap[1]:.1f} s")
                evidence.append(f"signals.csv:{gap[0]}")
        if problems:
            why = "; ".join(problems)
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                why,
                *evidence,
                record.looked("signals.csv"),
                code="silent" if evidence else "never_measured",
            )
        return finding(self, Verdict.PASS, f"no gap above {GAP_S:g} s", *_heard(record))


def _needed(record: Record) -> tuple[str, ...]:
    """What this run must have been sampled of, beside ALWAYS."""
    first = record.first(Kind.RUN_STARTED)
    known = first is not None and first.detail.get(FORMAT_KEY, 1) != 1
    return (HEARD,) if known and set(HEARS) <= set(record.plan.offers) else ()


def _looks(record: Record) -> Iterator[tuple[str, float, list[tuple[float, int]]]]:
    """(observer, how often it was to look, [(at_s, line of signals.csv) of its looks]) of all that the run began with.

    Run folders of before this was written name none.
    """
    first = record.first(Kind.RUN_STARTED)
    known = first.detail.get(OBSERVERS) if first is not None else None
    for observer, every_s in sorted(known.items()) if isinstance(known, dict) else ():
        speaks = observer.partition(" of ")[0] in SPEAK
        rows = record.signals(LOOKED, observer).rows
        looks = [(at_s, line) for at_s, said, line in rows if said > 0 or not speaks]
        yield observer, float(every_s), looks


def _heard(record: Record) -> Iterator[str]:
    """The rows that were looked at: all events, and the samples from the first to the last of these series."""
    yield record.looked("timeline")
    lines = [line for _, times in _series(record) for _, line in times]
    yield f"signals.csv:{min(lines)}-{max(lines)}"


def _lost(record: Record) -> tuple[list[str], list[Event | str]]:
    problems: list[str] = []
    evidence: list[Event | str] = []
    for event in record.of_kind(Kind.SIGNAL_LOST):
        back = [e for e in record.of_kind(Kind.SIGNAL_BACK) if e.subject == event.subject and e.at_s >= event.at_s]
        until_s = back[0].at_s if back else record.end_s
        if until_s - _since_s(record, event, until_s) > GAP_S or not back:
            why = f": {event.detail['error']}" if event.detail.get("error") else ""
            problems.append(f"{event.subject} was silent for {until_s - event.at_s:.1f} s{why}")
            evidence.append(event)
    return problems, evidence


def _since_s(record: Record, event: Event, until_s: float) -> float:
    """From when on a loss counts. A counter belongs to a kernel: while faults strike, it may be away with it."""
    began_s = record.first_injection_s
    if not event.subject.startswith(OF) or began_s is None or event.at_s < began_s:
        return event.at_s
    recovered_s = record.recovered.at_s if record.recovered else until_s
    return max(event.at_s, recovered_s)


def _series(record: Record) -> Iterator[tuple[str, list[tuple[float, int]]]]:
    """(what it is, [(at_s, line of signals.csv)]) of all that is sampled all the time."""
    for name in PERIODIC:
        subjects = record.subjects(name) if name in EACH else ()
        if not subjects:
            yield name, record.signal_times(name)
        for subject in subjects:
            rows = record.signals(name, subject).rows
            yield f"{name} of {subject}", [(at_s, line) for at_s, _, line in rows]


def _gap(rows: list[tuple[float, int]], end_s: float, every_s: float = 0.0) -> tuple[int, float] | None:
    """(line of signals.csv before it, its length in seconds) of the longest gap, when it is too long.

    *every_s*: a gap may be longer by two looks of one that looks so often.
    """
    if not rows:
        return None
    first = (START_S - GAP_S, rows[0][1])
    ends = [*rows[1:], (end_s, rows[-1][1])]
    gaps = [(before[1], after[0] - before[0]) for before, after in zip(rows, ends, strict=True)]
    gaps.append((rows[0][1], rows[0][0] - first[0]))
    worst = max(gaps, key=lambda one: one[1])
    return worst if worst[1] > GAP_S + 2 * every_s else None


CHECK = SignalsComplete
