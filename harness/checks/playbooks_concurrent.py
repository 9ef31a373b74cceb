"""Two playbooks for faults of the plan were in force together, each from its start to its safeguard's release."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import ClassVar

from harness.checks import EVENTS, finding, if_looked, lost
from harness.model import Event, Finding, Setup, Verdict
from harness.record import Record


@dataclass(frozen=True)
class Span:
    """A playbook that succeeded, for as long as what it did stood. *steps*: the faults that it answers."""

    name: str
    steps: frozenset[str]
    start_s: float
    end_s: float
    events: tuple[Event | None, ...]


@dataclass(frozen=True, kw_only=True)
class PlaybooksConcurrent:
    """Twice the same playbook for the same subject is one answer, not two; nor are two answers to one fault."""

    observers: ClassVar[tuple[str, ...]] = (EVENTS,)

    claim: str
    sources: ClassVar[tuple[str, ...]] = (
        "timeline: fault_attained, fault_ended, fault_injected, playbook_finished, playbook_started, run_started",
        "timeline: safeguard_engaged, safeguard_released, signal_back, signal_lost",
    )

    def never(self, setup: Setup) -> str:
        """Return why no run can pass, "" when one can."""
        answered = sum(any(playbook for _, playbook in rows) for _, rows in setup.covered)
        return "" if answered > 1 else f"{answered} of its faults are answered by a playbook, and it takes two"

    def check(self, record: Record) -> Finding:
        spans = self._spans(record)
        pairs = [pair for pair in combinations(spans, 2) if _differ(*pair) and _together_s(pair) > 0]
        if pairs:
            best = max(pairs, key=_together_s)
            names = " and ".join(one.name for one in best)
            why = f"{names} were in force together for {_together_s(best):.1f} s; {len(pairs)} such pairs in all"
            return finding(self, Verdict.PASS, why, *(event for one in best for event in one.events))
        told = "; ".join(f"{one.name} from {one.start_s:.1f} s to {one.end_s:.1f} s" for one in spans)
        why = f"no two playbooks were in force together: {told or 'none ran'}"
        short = [fault.step.step_id for fault in record.faults if fault.shortfall]
        if short or not any(_differ(*pair) for pair in combinations(self._expected(record), 2)):
            lack = f"not as asked: {', '.join(short)}" if short else "the plan has no two faults with playbooks"
            why = f"{why}; {lack}"
            return finding(
                self,
                Verdict.INCONCLUSIVE,
                why,
                record.looked("timeline"),
                code="fault_not_as_asked" if short else "no_two_faults",
            )
        red = finding(
            self,
            Verdict.FAIL,
            why,
            *(event for one in spans for event in one.events),
            record.looked("timeline"),
            code="not_together",
        )
        return if_looked(record, EVENTS, red)

    @staticmethod
    def _answers(record: Record) -> dict[tuple[str, str], frozenset[str]]:
        """(playbook, subject) of all that the plan's faults should lead to → the faults that should."""
        found: dict[tuple[str, str], frozenset[str]] = {}
        for fault in record.faults:
            for safeguard, playbook in record.plan.coverage.get(fault.step.step_id, ()):
                key = (playbook, record.plan.subject_of(fault.step, safeguard))
                if playbook:
                    found[key] = found.get(key, frozenset()) | {fault.step.step_id}
        return found

    def _expected(self, record: Record) -> list[Span]:
        """The answers as they would be, without their times."""
        return [Span(_named(*key), steps, 0.0, 0.0, ()) for key, steps in self._answers(record).items()]

    def _spans(self, record: Record) -> list[Span]:
        answers, start_s, found = self._answers(record), record.first_injection_s, []
        for run in record.playbook_runs:
            early = start_s is None or run.started.at_s < start_s
            if early or not run.succeeded or (run.playbook, run.subject) not in answers:
                continue
            engagement = record.engagement_of(run)
            if engagement is None:
                continue  # how long it stood is not known
            end = engagement.released
            if end is None and lost(record, EVENTS):
                continue  # it may have been released unseen
            end_s = end.at_s if end else record.end_s
            steps = answers[run.playbook, run.subject]
            found.append(Span(_named(run.playbook, run.subject), steps, run.started.at_s, end_s, (run.started, end)))
        return found


def _named(playbook: str, subject: str) -> str:
    return f"{playbook} ({subject})"


def _differ(one: Span, other: Span) -> bool:
    """Whether they are two answers, to two faults."""
    return one.name != other.name and len(one.steps | other.steps) > 1


def _together_s(pair: tuple[Span, ...]) -> float:
    return min(one.end_s for one in pair) - max(one.start_s for one in pair)


CHECK = PlaybooksConcurrent
