"""The load is what it is said to be: three counts of each request agree, and no legitimate user falls silent.

requests.csv, the clients' ledger and Locust's own statistics are counted in different places, and on workers they
come on different messages. Users tell themselves when they begin and end a request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from harness.checks import finding
from harness.ledger import LEGITIMATE, ROUTES, span
from harness.model import Event, Finding, Invariant, Kind, Verdict
from harness.record import Record

SILENT_S = 5.0  # users wait for 1.5 s at the most between two requests
UNKEPT = "knowledge"  # of attacks the ledger has no rows of this kind


@dataclass(frozen=True)
class Problem:
    """Two counts that differ, or a silence; *cite* is where it is seen."""

    code: str
    words: str
    cite: str = ""


@dataclass(frozen=True, kw_only=True)
class LoadAccounted:
    """What does not agree is INCONCLUSIVE: it says nothing of the target, and no other answer can be relied on."""

    claim: str

    invariant: ClassVar[Invariant] = Invariant(
        order=8, claim="the load that was sent is fully accounted for, and no user was silent"
    )
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "requests.csv",
        "signals.csv: users_idle_s, users_present, users_started, users_waiting",
        "timeline: load_counted, steady_state_met",
    )

    def check(self, record: Record) -> Finding:
        event = next(iter(record.of_kind(Kind.LOAD_COUNTED)), None)
        if event is None:
            why = "nobody told Locust's own statistics of the run"
            return finding(self, Verdict.INCONCLUSIVE, why, "timeline.jsonl", code="not_counted")
        problems = [*_silent(record), *_absent(record), *_uncounted(record, event)]
        if record.ledger is not None:
            problems += [*_users_ledger(record, event), *_attacks(record, event)]
        rows = f"requests.csv:2-{1 + len(record.requests)}"
        if problems:
            words = "; ".join(one.words for one in problems)
            cited = [one.cite for one in problems if one.cite]
            return finding(self, Verdict.INCONCLUSIVE, words, event, rows, *cited, code=[one.code for one in problems])
        total = sum(row.count for row in record.requests)
        why = f"{total} requests by requests.csv, the ledger and Locust; no user silent for {SILENT_S:g} s"
        return finding(self, Verdict.PASS, why, event, rows, *span(record.ledger or ()))


def _silent(record: Record) -> Iterator[Problem]:
    """Users who began no request for too long while they should have, and processes that told nothing of theirs."""
    since_s = record.baseline.at_s if record.baseline else 0.0
    processes = record.subjects("users_idle_s")
    if not processes:
        yield Problem("users_silent", "nobody told when legitimate users began requests")
    for process in processes:
        of = f" of worker {process}" if process else ""
        there = [row[0] for row in record.signals("users_present", process).rows if row[1] > 0]
        if not there:
            yield Problem("users_silent", f"no legitimate user{of} was there")
            continue
        until_s = there[-1] if record.load_end_s - there[-1] < SILENT_S else record.load_end_s
        rows = [row for row in record.signals("users_idle_s", process).rows if since_s <= row[0] <= until_s]
        quiet = max(rows, key=lambda row: row[1], default=None)
        if quiet is not None and quiet[1] > SILENT_S:
            words = f"a legitimate user{of} began no request for {quiet[1]:.1f} s, at {quiet[0]:.1f} s of the run"
            yield Problem("users_silent", words, f"signals.csv:{quiet[2]}")
        yield from _stalled(record, process, of, since_s, until_s)


def _absent(record: Record) -> Iterator[Problem]:
    """From the baseline on, more or fewer users than were planned, over all processes, for too long."""
    if record.baseline is None:
        return  # the run never came so far
    asked, present = record.plan.users, dict.fromkeys(record.subjects("users_present"), 0.0)
    rows = sorted((at_s, line, one, value) for one in present for at_s, value, line in _present(record, one))
    began_s, there, cite = record.baseline.at_s, float(asked), ""
    for at_s, line, process, value in rows:
        present[process] = value
        total = sum(present.values())
        if at_s < began_s:
            continue
        if total == asked:
            if at_s - began_s > SILENT_S:
                break
            began_s, there, cite = at_s, total, ""
        elif abs(total - asked) > abs(there - asked):
            there, cite = total, f"signals.csv:{line}"
    else:
        at_s = record.load_end_s
    if there != asked and at_s - began_s > SILENT_S:
        code = "users_missing" if there < asked else "users_added"
        words = f"{there:g} legitimate users of {asked} were there between {began_s:.1f} s and {at_s:.1f} s of the run"
        yield Problem(code, words, cite)


def _present(record: Record, process: str) -> Sequence[tuple[float, float, int]]:
    """How many users of one process were there: (at_s, number, line of signals.csv)."""
    return record.signals("users_present", process).rows


def _stalled(record: Record, process: str, of: str, since_s: float, until_s: float) -> Iterator[Problem]:
    """All users together began nothing, and none waited for an answer; or nobody told of it."""
    waiting = {row[0]: row[1] for row in record.signals("users_waiting", process).rows}
    rows = [row for row in record.signals("users_started", process).rows if since_s <= row[0] <= until_s]
    began_s, before, line = since_s, -1.0, 0
    for at_s, started, number in [*rows, (until_s, float("inf"), 0)]:
        if at_s - began_s > SILENT_S:
            words = f"no legitimate user{of} began a request from {began_s:.1f} s to {at_s:.1f} s of the run"
            yield Problem("users_silent", words, f"signals.csv:{line}" if line else "signals.csv")
            return
        if started > before or waiting.get(at_s, 0.0) > 0:
            began_s, before = at_s, started
        line = number or line


def _uncounted(record: Record, event: Event) -> Iterator[Problem]:
    """requests.csv against Locust's own statistics, by route; and against what the users themselves began."""
    ours: Counter[str] = Counter()
    for row in record.requests:
        ours[row.name] += row.count
    locust = _counts(event.detail.get("locust"))
    if event.detail.get("reset"):
        yield Problem("stats_reset", "Locust's statistics were reset during the run (--reset-stats)")
    else:
        for name in sorted({*ours, *locust}):
            if ours[name] != locust.get(name, 0):
                code = "requests_missing" if ours[name] < locust.get(name, 0) else "locust_differs"
                yield Problem(code, f"{name}: {ours[name]} in requests.csv, {locust.get(name, 0)} by Locust")
    told = event.detail.get("users")
    users = [_counts(one) for one in told.values()] if isinstance(told, dict) else []
    ended, mine = sum(one.get("ended", 0) for one in users), _of_users(record)
    if ended != mine.total():
        code = "requests_missing" if mine.total() < ended else "users_differ"
        yield Problem(code, f"{ended} requests ended by the users' own count, {mine.total()} in requests.csv")


def _of_users(record: Record) -> Counter[str]:
    """Legitimate requests of requests.csv by route."""
    found: Counter[str] = Counter()
    for row in record.requests:
        if row.user == LEGITIMATE:
            found[row.name] += row.count
    return found


def _users_ledger(record: Record, event: Event) -> Iterator[Problem]:
    """Legitimate users: the ledger has a row for each request that changes something, also for those cut at the end."""
    told = event.detail.get("users")
    cut = sum(_counts(one).get("cut", 0) for one in told.values()) if isinstance(told, dict) else 0
    mine, rows = _of_users(record), [row for row in record.ledger or () if row.user == LEGITIMATE]
    for kind in sorted({row.kind for row in rows} | {kind for kind, route in ROUTES.items() if mine[route]}):
        route = ROUTES.get(kind, "")
        kept = sum(row.attempts for row in rows if row.kind == kind)
        if kept < mine[route]:
            yield Problem("ledger_missing", f"{route}: {kept} in ledger.jsonl, {mine[route]} of users in requests.csv")
        elif kept > mine[route] + cut:
            words = f"{route}: {mine[route]} of users in requests.csv, {kept} in ledger.jsonl, {cut} cut at the end"
            yield Problem("requests_missing", words)


def _attacks(record: Record, event: Event) -> Iterator[Problem]:
    """Attacks, by route: their own counts against requests.csv and the ledger, retries among them."""
    told = event.detail.get("attacks")
    attacks = {step: _counts(one) for step, one in told.items()} if isinstance(told, dict) else {}
    routes: dict[str, list[str]] = {}
    for step in record.plan.steps:
        if step.step_id in attacks:
            routes.setdefault(f"POST {step.params.get('endpoint', '')}", []).append(step.step_id)
    for route, steps in routes.items():
        sums: Counter[str] = Counter()
        for step_id in steps:
            sums.update(attacks[step_id])
        sent = sum(row.count for row in record.requests if row.name == route and row.user != LEGITIMATE)
        if sent != sums["counted"]:
            code = "requests_missing" if sent < sums["counted"] else "locust_differs"
            yield Problem(code, f"{route}: {sent} of attacks in requests.csv, {sums['counted']} by the engine")
        under_way = sum(int(record.fault(one).step.params.get("concurrency", 0)) for one in steps)
        lost = sums["attempts"] - sums["resent"] - sums["counted"]
        if lost > under_way:
            words = (
                f"{route}: {lost} attempts of attacks have no outcome, at most {under_way} were under way at the end"
            )
            yield Problem("requests_missing", words)
        kinds = [kind for kind, one in ROUTES.items() if one == route and kind != UNKEPT]
        rows = [row for row in record.ledger or () if row.attack and row.kind in kinds]
        if not kinds:
            continue
        for what, kept, own in (
            ("attempts", sum(row.attempts for row in rows), sums["attempts"]),
            ("requests", len(rows), sums["settled"]),
        ):
            if kept != own:
                code = "ledger_missing" if kept < own else "ledger_differs"
                yield Problem(code, f"{route}: {kept} {what} of attacks in ledger.jsonl, {own} by the attack itself")


def _counts(value: Any) -> dict[str, int]:
    found: Mapping[Any, Any] = value if isinstance(value, dict) else {}
    return {str(key): int(one) for key, one in found.items() if isinstance(one, int | float)}


CHECK = LoadAccounted
