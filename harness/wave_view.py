"""The record of a wave as one of its scenarios alone would have it: its own faults, and no safeguard of the others'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any

from harness.model import Event, Kind, Plan
from harness.record import Record
from harness.unmet import Unmet

# judged by the steps of the plan and what covers them: in a wave by those of one scenario only
NARROW = (
    *("safeguard_engaged", "playbook_ran", "all_safeguards_triggered", "each_fault_detected", "all_faults_injected"),
    *("alerts_raised", "playbooks_repeat", "playbooks_concurrent"),
    *("no_second_death", "retries_refused_cheaply", "log_restored", "recovery_within_limit", "workers_restarted"),
)
# what a record has worked out from its plan and its events
CACHED = tuple(name for name, one in vars(Record).items() if isinstance(one, cached_property))
OF_GUARDS = (Kind.SAFEGUARD_ENGAGED, Kind.SAFEGUARD_RELEASED)
OF_PLAYBOOKS = (Kind.PLAYBOOK_STARTED, Kind.PLAYBOOK_FINISHED)


def narrow(record: Record, part: str) -> Record:
    """The record as if the other scenarios' faults had been somebody else's doing."""
    plan = _plan(record.plan, part)
    others = [step for step in record.plan.steps if step.step_id not in record.plan.parts.get(part, (step.step_id,))]
    guards = {(name, record.plan.subject_of(step, name)) for step in others for name, _ in _rows(record.plan, step)}
    playbooks = {
        (playbook, record.plan.subject_of(step, name)) for step in others for name, playbook in _rows(record.plan, step)
    }

    def foreign(event: Event) -> bool:
        about = (event.subject, str(event.detail.get("subject", "")))
        return (event.kind in OF_GUARDS and about in guards) or (event.kind in OF_PLAYBOOKS and about in playbooks)

    events = [event for event in record.events if not foreign(event)]
    return again(record, plan, events)


def _rows(plan: Plan, step: Any) -> tuple[tuple[str, str], ...]:
    return plan.coverage.get(step.step_id, ())


def _plan(plan: Plan, part: str) -> Plan:
    if not plan.parts:
        return plan
    steps = plan.parts[part]
    claims = tuple(claim for claim in plan.claims if claim.of in ("", part))

    def expected(check: str, word: str) -> tuple[str, ...]:
        return tuple(str(one.args[word]) for one in claims if one.of == part and one.check == check)

    return replace(
        plan,
        scenario_id=part,
        steps=tuple(step for step in plan.steps if step.step_id in steps),
        claims=claims,
        recovery_limit_s=plan.recovery_limits_s.get(part, plan.recovery_limit_s),
        coverage={step: rows for step, rows in plan.coverage.items() if step in steps},
        subjects={step: names for step, names in plan.subjects.items() if step in steps},
        expected_safeguards=expected("safeguard_engaged", "safeguard"),
        expected_playbooks=expected("playbook_ran", "playbook"),
    )


def again(record: Record, plan: Plan, events: Sequence[Event]) -> Record:
    """The same record by another plan, and without some of its events."""
    made: Record = copy(record)
    for name in CACHED:
        made.__dict__.pop(name, None)
    made.plan, made.events = plan, tuple(events)
    return made


def idle_steps(record: Record) -> dict[str, Unmet]:
    """{step id: what it met} of the attacks on routes that this target lacks: they tried nothing."""
    found: dict[str, Unmet] = {}
    floods = [step for step in record.plan.steps if step.asked.unit == "requests"]
    for one in record.unmet:
        if one.lacks:
            mine = [step for step in floods if f"POST {step.params.get('endpoint', '')}" == one.route]
            found |= {step.step_id: one for step in mine}
    return found


def without_steps(record: Record, steps: Mapping[str, Unmet]) -> Record:
    """The record as if *steps* had never been planned, nor what they sent."""
    users = {one.user for one in steps.values()}
    kept = tuple(step for step in record.plan.steps if step.step_id not in steps)
    made = again(record, replace(record.plan, steps=kept), record.events)
    sent, *more = record._ledgers
    rows = None if sent is None else tuple(row for row in sent if row.user not in users)
    made.__dict__["_ledgers"] = (rows, *more)
    return made
