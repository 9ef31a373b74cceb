"""Which scenarios make a wave: those of one severity, the lowest first, and apart where they would clash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.expect import moves
from harness.model import Plan


@dataclass(frozen=True, kw_only=True)
class Member:
    """A scenario that is to run in some wave; *plan* is what it would do alone."""

    scenario_id: str
    severity: int
    conflicts_with: tuple[str, ...]
    plan: Plan


@dataclass(frozen=True, kw_only=True)
class Group:
    """A wave; *apart* says why each member is not in an earlier wave of the same severity."""

    number: int  # from 1
    severity: int
    members: tuple[str, ...]
    apart: dict[str, str]


def clash(one: Member, other: Member) -> str:
    """Why two cannot run at the same time, in words; "" when they can.

    Besides what they say themselves: what a safeguard or a measurement sees of one could be taken for the other's.
    """
    if other.scenario_id in one.conflicts_with or one.scenario_id in other.conflicts_with:
        return f"it conflicts with {other.scenario_id}"
    if aims := _aims(one.plan) & _aims(other.plan):
        return f"{other.scenario_id} is aimed at {min(aims)} too"
    if named := _named(one.plan) & _named(other.plan):
        return f"{other.scenario_id} is seen by {' as '.join(min(named))} too"
    for first, second in ((one, other), (other, one)):
        for metric in sorted(_metrics(first.plan)):
            if metric in _metrics(second.plan) or any(moves(step, metric) for step in second.plan.steps):
                return f"{metric} would be that of {other.scenario_id} too"
    return ""


def _aims(plan: Plan) -> set[str]:
    """What its faults are aimed at: a kernel, an actor, a resource, a file."""
    return {name for step in plan.steps for name in (step.subject, *step.kernels) if name}


def _named(plan: Plan) -> set[tuple[str, str]]:
    """(safeguard, subject) of all that counts as the detection of its faults."""
    return {(name, plan.subject_of(step, name)) for step in plan.steps for name, _ in plan.coverage[step.step_id]}


def _metrics(plan: Plan) -> set[str]:
    return {str(claim.args["metric"]) for claim in plan.claims if claim.check == "metric"}


def groups(members: Sequence[Member], too_much: Callable[[Sequence[Member]], str] = lambda _: "") -> list[Group]:
    """Each in the first wave of its severity where it clashes with nobody; *too_much* says what a wave may not be."""
    found: list[Group] = []
    for severity in sorted({one.severity for one in members}):
        waves: list[tuple[list[Member], dict[str, str]]] = []
        for one in (member for member in members if member.severity == severity):
            reasons: list[str] = []
            for wave, apart in waves:
                why = next((said for other in wave if (said := clash(one, other))), "") or too_much([*wave, one])
                if not why:
                    wave.append(one)
                    apart[one.scenario_id] = "; ".join(reasons)
                    break
                reasons.append(why)
            else:
                waves.append(([one], {one.scenario_id: "; ".join(reasons)}))
        for wave, reasons_of in waves:
            told = {name: why for name, why in reasons_of.items() if why}
            ids = tuple(one.scenario_id for one in wave)
            found.append(Group(number=len(found) + 1, severity=severity, members=ids, apart=told))
    return found
