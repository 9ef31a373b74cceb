"""Two playbooks for faults of the plan were in force together, each from its start to its safeguard's release."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

from harness.checks import EVENTS, finding, if_looked, lost
from harness.model import Event, Finding, Verdict
from harness.record import Engagement, PlaybookRun, Record


@dataclass(frozen=True)
class Span:
    """A playbook that succeeded, for as long as what it did stood."""

    name: str
    start_s: float
    end_s: float
    events: tuple[Event | None, ...]


@dataclass(frozen=True, kw_only=True)
class PlaybooksConcurrent:
    """Twice the same playbook for the same subject is one answer, not two."""

    claim: str

    def check(self, record: Record) -> Finding:
        spans = self._spans(record)
        pairs = [pair for pair in combinations(spans, 2) if pair[0].name != pair[1].name and _together_s(pair) > 0]
        if pairs:
            best = max(pairs, key=_together_s)
            names = " and ".join(one.name for one in best)
            why = f"{names} were in force together for {_together_s(best):.1f} s; {len(pairs)} such pairs in all"
            return finding(self, Verdict.PASS, why, *(event for one in best for event in one.events))
        told = "; ".join(f"{one.name} from {one.start_s:.1f} s to {one.end_s:.1f} s" for one in spans)
        why = f"no two playbooks were in force together: {told or 'none ran'}"
        short = [fault.step.step_id for fault in record.faults if fault.shortfall]
        if short or len(self._answers(record)) < 2:
            lack = f"not as asked: {', '.join(short)}" if short else "the plan has no two faults with playbooks"
            return finding(self, Verdict.INCONCLUSIVE, f"{why}; {lack}")
        red = finding(self, Verdict.FAIL, why, *(event for one in spans for event in one.events))
        return if_looked(record, EVENTS, red)

    @staticmethod
    def _answers(record: Record) -> set[tuple[str, str]]:
        """(playbook, subject) of all that the plan's faults should lead to."""
        return {
            (playbook, record.plan.subject_of(fault.step, safeguard))
            for fault in record.faults
            for safeguard, playbook in record.plan.coverage.get(fault.step.step_id, ())
            if playbook
        }

    def _spans(self, record: Record) -> list[Span]:
        answers, start_s, found = self._answers(record), record.first_injection_s, []
        for run in record.playbook_runs:
            early = start_s is None or run.started.at_s < start_s
            if early or not run.succeeded or (run.playbook, run.subject) not in answers:
                continue
            engagement = _incident(record, run)
            if engagement is None:
                continue  # how long it stood is not known
            end = engagement.released
            if end is None and lost(record, EVENTS):
                continue  # it may have been released unseen
            end_s = end.at_s if end else record.end_s
            found.append(Span(f"{run.playbook} ({run.subject})", run.started.at_s, end_s, (run.started, end)))
        return found


def _together_s(pair: tuple[Span, ...]) -> float:
    return min(one.end_s for one in pair) - max(one.start_s for one in pair)


def _incident(record: Record, run: PlaybookRun) -> Engagement | None:
    """What the playbook was started for: by its incident's id, else by the subject and the time."""
    incident = run.started.detail.get("incident_id")
    for one in record.engagements:
        if incident is not None and one.engaged.detail.get("incident_id") == incident:
            return one
        open_then = one.engaged.at_s <= run.started.at_s and (not one.released or one.released.at_s > run.started.at_s)
        if incident is None and one.subject == run.subject and open_then:
            return one
    return None


CHECK = PlaybooksConcurrent
