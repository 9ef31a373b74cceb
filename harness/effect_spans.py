"""Stretches of time in which a playbook was in force, and the clients' requests in and around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.ledger import LedgerRow
from harness.model import Event
from harness.playbook_effects import DEFERS, REFUSES
from harness.record import Record
from harness.traffic import BIN_S

SWITCH_S = 1.0  # the latency of switching: what began so soon after the finish, or ended so near the release
DEFERRED = 503
Span = tuple[float, float]


@dataclass(frozen=True)
class InForce:
    """One engagement during which *playbook* took hold: from its first success to the release."""

    playbook: str
    subject: str
    since_s: float
    until_s: float
    finished: Event
    engaged_s: float
    end_known: bool = True  # False: no safeguard is known that it ran for, so nobody knows its end

    @property
    def core(self) -> Span:
        """Within it everything that the playbook names must be met by it; it may be empty."""
        if not self.end_known:
            return self.since_s, self.since_s
        return self.since_s + SWITCH_S, self.until_s - SWITCH_S

    @property
    def edge(self) -> Span:
        """Beyond it nothing may be met by it."""
        return self.engaged_s - SWITCH_S - BIN_S, self.until_s + SWITCH_S


def in_force(record: Record, succeeded: bool = True) -> list[InForce]:
    """Every stretch in which a playbook with a declared effect was in force; also of failed runs unless *succeeded*."""
    found: dict[tuple[str, str, str], InForce] = {}
    for run in record.playbook_runs:
        if run.playbook not in record.plan.effects or (succeeded and not run.succeeded):
            continue
        one = record.engagement_of(run)
        key = (run.playbook, run.subject, str(one.engaged.seq if one else run.started.seq))
        until_s = one.released.at_s if one and one.released else record.load_end_s
        engaged_s = one.engaged.at_s if one else run.started.at_s
        began = run.finished or run.started
        span = InForce(run.playbook, run.subject, began.at_s, until_s, began, engaged_s, one is not None)
        if key not in found or span.since_s < found[key].since_s:  # it may be repeated while the incident lasts
            found[key] = span
    return sorted(found.values(), key=lambda span: span.since_s)


def kinds(record: Record, playbook: str) -> tuple[str, ...]:
    """The kinds of work that *playbook* defers or refuses."""
    effects = record.plan.effects.get(playbook, {})
    return (*effects.get(DEFERS, ()), *effects.get(REFUSES, ()))


def work_of(row: LedgerRow) -> str:
    """The kind of work as playbooks name it; "" for an intent of which nobody wrote down how urgent it is."""
    return row.work or ("" if row.kind == "intent" else row.kind)


def within(at_s: float, spans: Iterable[Span]) -> bool:
    return any(start_s <= at_s <= end_s for start_s, end_s in spans)


def throughout(row: LedgerRow, spans: Iterable[Span]) -> bool:
    """True for a request that began and ended within one of *spans*."""
    begun_s = row.at_s if row.begun_s is None else row.begun_s
    return any(start_s <= begun_s and row.at_s <= end_s for start_s, end_s in spans)


def put_off(row: LedgerRow) -> bool:
    """True for a request that was told to come again later by something else than a limiter."""
    return row.outcome == "refused" and row.status == DEFERRED


def counted(row: LedgerRow) -> bool:
    """True for a request that the target has decided about: accepted or put off."""
    return row.valid and (row.outcome == "accepted" or put_off(row))


def edges(spans: Sequence[InForce]) -> list[Span]:
    return [span.edge for span in spans]


def before_run(record: Record) -> list[Span]:
    """Stretches in which something was engaged since before the run: nobody saw which playbook was in force."""
    mine = [one for one in record.engagements if one.engaged.detail.get("before_run")]
    return [(0.0, one.released.at_s + SWITCH_S if one.released else record.end_s) for one in mine]
