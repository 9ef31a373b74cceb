"""Which scenarios make a wave: those of one severity, the lowest first, and apart where they would clash."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

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
class Wanted:
    """A scenario that has no wave yet. What it would do follows from the seed, and so from the wave that it is in."""

    severity: int
    in_wave: Callable[[int], Member]


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


@dataclass(kw_only=True)
class _Filling:
    """A wave while its members are found."""

    number: int
    severity: int
    members: list[Member] = field(default_factory=list)
    apart: dict[str, str] = field(default_factory=dict)

    def take(self, member: Member, reasons: Sequence[str]) -> None:
        self.members.append(member)
        if reasons:
            self.apart[member.scenario_id] = "; ".join(reasons)

    def done(self) -> Group:
        ids = tuple(one.scenario_id for one in self.members)
        return Group(number=self.number, severity=self.severity, members=ids, apart=self.apart)


def groups(wanted: Sequence[Wanted], too_much: Callable[[Sequence[Member]], str] = lambda _: "") -> list[Group]:
    """Each in the first wave of its severity where it clashes with nobody; *too_much* says what a wave may not be."""
    waves: list[_Filling] = []
    for severity in sorted({one.severity for one in wanted}):
        milder = len(waves)
        for one in (one for one in wanted if one.severity == severity):
            reasons = _reasons(one, waves[milder:], too_much)
            if milder + len(reasons) == len(waves):  # none of them takes it
                waves.append(_Filling(number=len(waves) + 1, severity=severity))
            wave = waves[milder + len(reasons)]
            wave.take(one.in_wave(wave.number), reasons)
    return [wave.done() for wave in waves]


def _reasons(one: Wanted, waves: Sequence[_Filling], too_much: Callable[[Sequence[Member]], str]) -> list[str]:
    """Why each of *waves* does not take it, up to the one that does."""
    return list(takewhile(bool, (_kept_out(one.in_wave(wave.number), wave, too_much) for wave in waves)))


def _kept_out(member: Member, wave: _Filling, too_much: Callable[[Sequence[Member]], str]) -> str:
    for one in (member, *wave.members):
        if one.plan.not_applicable:  # drawn so: all of its wave would be
            return f"{one.scenario_id} lacks {'; '.join(one.plan.not_applicable)}"
    for other in wave.members:
        if why := clash(member, other):
            return why
    return too_much([*wave.members, member])
