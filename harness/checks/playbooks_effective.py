"""While a playbook is in force it defers, refuses, cuts off or answers from a store what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

from harness.checks import EVENTS, finding, lost
from harness.deferral import unexplained
from harness.effect_spans import (
    InForce,
    Span,
    before_run,
    counted,
    edges,
    in_force,
    kinds,
    put_off,
    throughout,
    within,
    work_of,
)
from harness.ledger import LEGITIMATE, LedgerRow
from harness.model import Finding, Invariant, Verdict
from harness.playbook_effects import CUTS_OFF, SERVES_STALE
from harness.record import Record, cite_rows
from harness.traffic import RequestRow

PERCENT_MIN = 95.0
REQUESTS_MIN = 20
SMALL_MIN = 3
FEW = 5
ORDER = ("leaks", "too_much", "silent", "end_unknown", "few_unexplained", "too_few")
RED = ("leaks", "too_much")


class _Cause(NamedTuple):
    code: str
    words: str
    evidence: tuple[str, ...]


@dataclass
class _Seen:
    """What was counted: good words, and causes against the claim by code."""

    shown: list[str] = field(default_factory=list)
    cited: list[str] = field(default_factory=list)
    causes: list[_Cause] = field(default_factory=list)

    def against(self, code: str, words: str, *evidence: str) -> None:
        self.causes.append(_Cause(code, words, evidence))


@dataclass(frozen=True, kw_only=True)
class PlaybooksEffective:
    """Counted by clients, over all engagements of a playbook together, by what the manifest's `playbook_effects` say.

    Requests within 1 s of the playbook's finish or of the release are not counted. Legitimate users send each request
    once, so a row of the ledger is one request; of an attack, which asks again, the deferred ones are the attempts in
    requests.csv, and the leaks the accepted rows. A kind with fewer than 20 requests is judged together with the other
    kinds of its playbook, which one rule of the target defers, and by itself where more than half of at least 3
    passed; fewer than 20 of all of them is too few where the
    scenario expects the playbook, and otherwise a remark: what is nobody's claim need not last long enough to count.
    """

    claim: str
    invariant: ClassVar[Invariant] = Invariant(
        order=7,
        claim="each playbook meets at least 95 % of what it says, and nothing else",
        sources=("playbook_effects.*",),
    )
    sources: ClassVar[tuple[str, ...]] = (
        "ledger.jsonl",
        "requests.csv",
        "signals.csv: bus_delivered",
        "timeline: fault_ended, fault_healed, fault_injected, playbook_finished, playbook_started, run_started",
        "timeline: safeguard_engaged, safeguard_released, signal_back, signal_lost, steady_state_met",
    )

    def check(self, record: Record) -> Finding:
        if "signals.events" not in record.plan.offers:
            why = "not judged: the target tells of no playbook"
            key = ("signals.events",)
            return finding(self, Verdict.NOT_APPLICABLE, why, "plan.json:1", code="not_judged", missing=key)
        seen, spans = _Seen(), in_force(record)
        if record.ledger is None:
            seen.against("silent", "the run kept no ledger of what was sent", "requests.csv:1")
        if (event := lost(record, EVENTS)) is not None:
            seen.against("silent", f"{EVENTS} was lost at {event.at_s:.1f} s and never back", f"timeline:{event.seq}")
        for playbook in sorted({span.playbook for span in spans}):
            mine = [span for span in spans if span.playbook == playbook]
            _work(record, playbook, mine, seen)
            _stale(record, playbook, mine, seen)
            _cut_off(record, playbook, mine, seen)
        _ends(spans, seen)
        _nothing_else(record, in_force(record, succeeded=False), seen)
        _without_reason(record, seen)
        return self._judged(record, spans, seen)

    def _judged(self, record: Record, spans: Sequence[InForce], seen: _Seen) -> Finding:
        if not seen.causes:
            cited = [f"timeline:{span.finished.seq}" for span in spans[:FEW]] + seen.cited
            if not spans:
                seen.shown.append("no playbook with an effect ran, and nothing was deferred, refused or stale")
                cited += [row.place for row in (record.ledger or ())[:1]]
                cited += cite_rows(record.requests[:1])
            return finding(self, Verdict.PASS, "; ".join(seen.shown), *dict.fromkeys(cited))
        codes = {one.code for one in seen.causes}
        blind = lost(record, EVENTS) is not None
        # who did not look to the end does not know when a playbook was released
        red = not blind and not codes.isdisjoint(RED)
        chosen = [one for one in seen.causes if not red or one.code in RED]
        why = "; ".join(one.words for one in chosen)
        cited = [place for one in chosen for place in one.evidence]
        chosen.sort(key=lambda one: (blind and one.code != "silent", ORDER.index(one.code)))
        verdict = Verdict.FAIL if red else Verdict.INCONCLUSIVE
        return finding(self, verdict, why, *dict.fromkeys(cited), code=[one.code for one in chosen])


def _ends(spans: Sequence[InForce], seen: _Seen) -> None:
    for span in spans:
        if not span.end_known:
            words = f"{span.playbook} ({span.subject}) ran for no safeguard that was heard of: nobody knows its end"
            seen.against("end_unknown", words, f"timeline:{span.finished.seq}")


def _work(record: Record, playbook: str, spans: Sequence[InForce], seen: _Seen) -> None:
    """Deferred and refused work, kind by kind."""
    named = kinds(record, playbook)
    if not named or record.ledger is None:
        return
    cores = [span.core for span in spans if span.core[0] < span.core[1]]
    rows = [row for row in record.ledger if work_of(row) in named and counted(row) and throughout(row, cores)]
    users = {kind: [row for row in rows if work_of(row) == kind and not row.attack] for kind in named}
    few = {kind: some for kind, some in users.items() if len(some) < REQUESTS_MIN}
    groups = {kind: some for kind, some in users.items() if kind not in few}
    if few:  # together with the rest of the playbook's
        groups[" and ".join(users)] = [row for some in users.values() for row in some]
        for kind, some in few.items():  # a pool that is fine hides none that mostly leaks
            passed = [row for row in some if not put_off(row)]
            if len(some) >= SMALL_MIN and 2 * len(passed) > len(some):
                words = f"{playbook} met {len(some) - len(passed)} of {len(some)} requests ({kind})"
                seen.against("leaks", words, *[row.place for row in passed[:FEW]])
    for name, some in groups.items():
        if len(some) < REQUESTS_MIN:
            places = [row.place for row in some[:FEW]] or [f"timeline:{span.finished.seq}" for span in spans[:FEW]]
            _too_few(record, playbook, f"only {len(some)} requests ({name})", places, seen)
        else:
            _share(playbook, name, some, seen)
    for user in sorted({row.user for row in record.ledger if row.attack and work_of(row) in named}):
        _attack(record, playbook, user, cores, [row for row in rows if row.user == user], seen)


def _too_few(record: Record, playbook: str, words: str, places: Sequence[str], seen: _Seen) -> None:
    words = f"{playbook} was in force for {words}, at least {REQUESTS_MIN} are needed"
    if playbook in record.plan.expected_playbooks:
        seen.against("too_few", words, *places)
    else:
        seen.shown.append(f"{words}, and the scenario does not expect it")


def _share(playbook: str, name: str, rows: Sequence[LedgerRow], seen: _Seen) -> None:
    passed = [row for row in rows if not put_off(row)]
    words = f"{playbook} met {len(rows) - len(passed)} of {len(rows)} requests ({name})"
    if 100.0 * len(passed) / len(rows) > 100.0 - PERCENT_MIN:
        seen.against("leaks", words, *[row.place for row in passed[:FEW]])
    else:
        seen.shown.append(words)
        seen.cited += [row.place for row in (rows[0], rows[-1])]


def _attack(
    record: Record, playbook: str, user: str, cores: Sequence[Span], rows: Sequence[LedgerRow], seen: _Seen
) -> None:
    passed = [row for row in rows if row.outcome == "accepted"]
    told = [row for row in record.requests if row.user == user and row.outcome == "shed" and within(row.at_s, cores)]
    deferred = sum(row.count for row in told)
    total = deferred + len(passed)
    words = f"{playbook} met {deferred} of {total} requests ({user})"
    if total >= REQUESTS_MIN and 100.0 * len(passed) / total > 100.0 - PERCENT_MIN:
        seen.against("leaks", words, *[row.place for row in passed[:FEW]])
    elif total:
        seen.shown.append(words)


def _stale(record: Record, playbook: str, spans: Sequence[InForce], seen: _Seen) -> None:
    """Answers from a store, of the routes that the playbook names."""
    cores = [span.core for span in spans]
    for route in record.plan.effects[playbook].get(SERVES_STALE, ()):
        rows = [row for row in record.requests if row.user == LEGITIMATE and row.name == route]
        served = [row for row in rows if row.outcome in ("ok", "stale") and within(row.at_s, cores)]
        fresh = [row for row in served if row.outcome == "ok"]
        total, passed = sum(row.count for row in served), sum(row.count for row in fresh)
        words = f"{playbook} met {total - passed} of {total} requests ({route})"
        if total < REQUESTS_MIN:
            places = cite_rows(served) or tuple(f"timeline:{span.finished.seq}" for span in spans[:FEW])
            _too_few(record, playbook, f"only {total} requests ({route})", places, seen)
        elif 100.0 * passed / total > 100.0 - PERCENT_MIN:
            seen.against("leaks", words, *cite_rows(fresh))
        else:
            seen.shown.append(words)
            seen.cited += cite_rows((served[0], served[-1]))


def _cut_off(record: Record, playbook: str, spans: Sequence[InForce], seen: _Seen) -> None:
    """Messages of an actor that is cut off: none may pass, as the harness's own subscriber hears it."""
    if not record.plan.effects[playbook].get(CUTS_OFF):
        return
    for span in spans:
        rows = record.signals("bus_delivered", span.subject).rows
        start_s, end_s = span.core
        before = [row for row in rows if row[0] <= start_s]
        after = [row for row in rows if start_s < row[0] <= end_s]
        if not before or not after:
            continue  # it was never heard on an open topic, so there is nothing to count
        more = after[-1][1] - before[-1][1]
        words = f"{playbook}: {more:.0f} messages of {span.subject} passed after it was cut off"
        if more > 0:
            seen.against("leaks", words, f"signals.csv:{before[-1][2]}", f"signals.csv:{after[-1][2]}")
        else:
            seen.shown.append(words)
            seen.cited.append(f"signals.csv:{after[-1][2]}")


def _nothing_else(record: Record, spans: Sequence[InForce], seen: _Seen) -> None:
    """What was deferred or stale although no playbook in force names it: of legitimate users, in the whole run."""
    rows = [row for row in record.ledger or () if not row.attack and work_of(row) and row.deferred_for and put_off(row)]
    known = before_run(record)
    named = {kind: edges([span for span in spans if kind in kinds(record, span.playbook)]) for kind in _kinds(rows)}
    wrong = [row for row in rows if not within(row.at_s, [*known, *named[work_of(row)]])]
    if wrong:
        words = ", ".join(sorted({work_of(row) for row in wrong}))
        words = f"{len(wrong)} requests ({words}) were deferred, and no playbook in force says so"
        seen.against("too_much", words, *[row.place for row in wrong[:FEW]])
    stale = [row for row in record.requests if row.user == LEGITIMATE and row.outcome == "stale"]
    extra = [row for row in stale if not within(row.at_s, [*known, *_stale_edges(record, spans, row)])]
    if extra:
        words = f"{sum(row.count for row in extra)} answers were stale, and no playbook in force says so"
        seen.against("too_much", words, *cite_rows(extra))


def _without_reason(record: Record, seen: _Seen) -> None:
    """What legitimate users were put off with, while no playbook, no fault and no safeguard explains it."""
    rows, counted = unexplained(record)
    for places, number, names in (
        ([row.place for row in rows[:FEW]], len(rows), sorted({work_of(row) for row in rows})),
        (list(cite_rows(counted)), sum(row.count for row in counted), sorted({row.name for row in counted})),
    ):
        if number:
            words = f"{number} requests ({', '.join(names)}) were put off, and nothing explains it"
            seen.against("too_much" if number >= SMALL_MIN else "few_unexplained", words, *places)
            return


def _kinds(rows: Sequence[LedgerRow]) -> set[str]:
    return {work_of(row) for row in rows}


def _stale_edges(record: Record, spans: Sequence[InForce], row: RequestRow) -> list[Span]:
    return edges([s for s in spans if row.name in record.plan.effects[s.playbook].get(SERVES_STALE, ())])


CHECK = PlaybooksEffective
