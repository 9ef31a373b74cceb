"""A wave: scenarios that run at the same time on one target, as one plan that keeps which part is whose.

`--scenario A+B` is the wave of A and B. Each part is planned as if it were alone, and then they are laid side by side:
its steps and claims bear its id, so that a safeguard which engages for one is never credited to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from harness.contracts import Target
from harness.expect import CRITERION
from harness.limits import Limits, exceeded
from harness.model import Claim, Plan, Slo, Step
from harness.plan import Options, build_plan, lint
from harness.scenario import Execution, Scenario, ScenarioError, find
from harness.wave_groups import Member, clash

SIGN = "+"
ID_LENGTH_MAX = 80
PART_GROUPS = ("safeguard", "playbook")  # what a scenario expects of its own faults
PART_CHECKS = ("fault_attained", "symptom_seen", "recovery_within_limit")  # of one step, or of one scenario, each


@dataclass(frozen=True, kw_only=True)
class Wave(Scenario):
    """Several scenarios at the same time; what a run asks of its scenario is what suits them all."""

    parts: tuple[Scenario, ...] = ()


def wave_id(ids: Sequence[str]) -> str:
    """A run folder is called after it."""
    whole = SIGN.join(ids)
    return whole if len(whole) <= ID_LENGTH_MAX else f"{ids[0]}{SIGN}{len(ids) - 1}_more"


def together(parts: Sequence[Scenario]) -> Scenario:
    """One is itself. Raises ScenarioError for what cannot be told apart."""
    ids = [one.scenario_id for one in parts]
    if len(set(ids)) < len(ids):
        raise ScenarioError([f"{SIGN.join(ids)}: a scenario stands here twice"])
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    same = {one.name: getattr(first, one.name) for one in fields(Scenario)}
    several = {
        "scenario_id": wave_id(ids),
        "name": ", ".join(one.name for one in parts),
        "severity": max(one.severity for one in parts),
        "description": "at the same time: " + ", ".join(ids),
        "faults": tuple(fault for one in parts for fault in one.faults),
        "pool": (),
        "execution": Execution(),
        "users": max(one.users for one in parts),
        "max_recovery_time": max(one.max_recovery_time for one in parts),
        "conflicts_with": tuple(name for one in parts for name in one.conflicts_with),
    }
    return Wave(**{**same, **several}, parts=tuple(parts))


def find_together(spec: str) -> list[Scenario]:
    """What `--scenario` names; A+B is one, their wave. Raises ScenarioError."""
    file, mark, rest = spec.partition("#")
    words = (rest if mark else spec).split(SIGN)
    if len(words) == 1 or (not mark and Path(spec).exists()):
        return find(spec)
    named = [f"{file}#{one}" if mark and "#" not in one else one for one in words]
    found = [find(word.strip()) for word in named]
    several = [word for word, scenarios in zip(named, found, strict=True) if len(scenarios) != 1]
    if several:
        raise ScenarioError([f"{several[0]}: one scenario is expected on each side of a {SIGN}"])
    return [together([scenarios[0] for scenarios in found])]


def lint_together(scenario: Scenario, metrics: Mapping[str, str]) -> None:
    for part in parts_of(scenario):
        lint(part, metrics)


def parts_of(scenario: Scenario) -> tuple[Scenario, ...]:
    return scenario.parts if isinstance(scenario, Wave) else (scenario,)


def plan_together(
    scenario: Scenario, target: Target, options: Options, metrics: Mapping[str, str]
) -> tuple[Plan, dict[str, Any]]:
    """build_plan() of a scenario, or of all the parts of a wave. Raises ScenarioError."""
    if not isinstance(scenario, Wave):
        return build_plan(scenario, target, options, metrics)
    plans = [build_plan(part, target, options, metrics) for part in scenario.parts]
    whole = side_by_side(scenario.scenario_id, scenario.name, [plan for plan, _ in plans])
    if problems := _clashes(scenario, [plan for plan, _ in plans]):
        raise ScenarioError(problems)
    if options.control:  # a run without any fault, of whatever it would have been
        return replace(plans[0][0], scenario_id=whole.scenario_id, name=whole.name), {}
    if too_much := exceeded(Limits().lifted(whole.unsafe), whole.steps, whole.users):
        raise ScenarioError([f"{scenario.scenario_id}: {one}" for one in too_much])
    return whole, {_own(plan.scenario_id, step): fault for plan, faults in plans for step, fault in faults.items()}


def _clashes(wave: Wave, plans: Sequence[Plan]) -> list[str]:
    """Also those of a draw that only this run's seed has made."""
    members = [
        Member(
            scenario_id=part.scenario_id,
            severity=part.severity,
            conflicts_with=part.conflicts_with,
            plan=plan,
        )
        for part, plan in zip(wave.parts, plans, strict=True)
    ]
    return [
        f"{wave.scenario_id}: {one.scenario_id} cannot run at the same time: {why}"
        for number, one in enumerate(members)
        for other in members[:number]
        if (why := clash(one, other))
    ]


def _own(part: str, step_id: str) -> str:
    return f"{part}.{step_id}"


def side_by_side(scenario_id: str, name: str, plans: Sequence[Plan]) -> Plan:
    """One plan of several. What each part claims of its own faults is its own, the rest is claimed once for all."""
    return replace(
        plans[0],
        scenario_id=scenario_id,
        name=name,
        severity=max(plan.severity for plan in plans),
        steps=tuple(_step(plan, step) for plan in plans for step in plan.steps),
        claims=tuple(_claims(plans)),
        slo=_tightest([plan.slo for plan in plans]),
        recovery_limit_s=max(plan.recovery_limit_s for plan in plans),  # so long the run waits at most
        recovery_limits_s={plan.scenario_id: plan.recovery_limit_s for plan in plans},
        users=max(plan.users for plan in plans),
        coverage={_own(p.scenario_id, step): rows for p in plans for step, rows in p.coverage.items()},
        subjects={_own(p.scenario_id, step): names for p in plans for step, names in p.subjects.items()},
        unsafe={limit: value for plan in plans for limit, value in plan.unsafe.items()},
        parts={p.scenario_id: tuple(_own(p.scenario_id, step.step_id) for step in p.steps) for p in plans},
        expected_safeguards=_once(plan.expected_safeguards for plan in plans),
        expected_playbooks=_once(plan.expected_playbooks for plan in plans),
        expected_behavior=_once(plan.expected_behavior for plan in plans),
        prerequisites=_once(plan.prerequisites for plan in plans),
        stop_when=_once(plan.stop_when for plan in plans),
        notes=_once(plan.notes for plan in plans) + _limits(plans),
        not_applicable=_once(plan.not_applicable for plan in plans),
        require=_once(plan.require for plan in plans),
    )


def _once(words: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """All of them, in order, each once."""
    return tuple(dict.fromkeys(word for some in words for word in some))


def _limits(plans: Sequence[Plan]) -> tuple[str, ...]:
    """What is to be said of limits that differ."""
    if len({plan.recovery_limit_s for plan in plans}) < 2:
        return ()
    each = ", ".join(f"{plan.scenario_id} {plan.recovery_limit_s:g} s" for plan in plans)
    return (f"recovery, each from the end of its own faults: {each}",)


def _step(plan: Plan, step: Step) -> Step:
    return replace(step, step_id=_own(plan.scenario_id, step.step_id))


def is_own(claim: Claim) -> bool:
    """Whether a claim is about one scenario's own faults or stands in its own words."""
    return bool(claim.where) or claim.group in PART_GROUPS or claim.check in PART_CHECKS


def _claims(plans: Sequence[Plan]) -> list[Claim]:
    """A criterion that not every part has, for it is of a category, stays that of the parts that have it."""
    criteria_of = [{claim.check for claim in plan.claims if claim.group == CRITERION} for plan in plans]
    everybodys = set.intersection(*criteria_of)

    def one_parts(claim: Claim) -> bool:
        return is_own(claim) or (claim.group == CRITERION and claim.check not in everybodys)

    own = [_claim(plan, claim) for plan in plans for claim in plan.claims if one_parts(claim)]
    shared: dict[str, Claim] = {}
    for claim in (claim for plan in plans for claim in plan.claims if not one_parts(claim)):
        shared.setdefault(claim.check, claim)
    criteria = [claim for claim in shared.values() if claim.group == CRITERION]
    return [*own, *criteria, *(claim for claim in shared.values() if claim.group != CRITERION)]


def _claim(plan: Plan, claim: Claim) -> Claim:
    args = dict(claim.args)
    if "step_id" in args:
        args["step_id"] = _own(plan.scenario_id, str(args["step_id"]))
    needs = tuple(_own(plan.scenario_id, step) for step in claim.needs)
    return replace(claim, claim=f"{plan.scenario_id}: {claim.claim}", args=args, needs=needs, of=plan.scenario_id)


def _tightest(slos: Sequence[Slo]) -> Slo:
    values = {}
    for one in fields(Slo):
        every = [float(getattr(slo, one.name)) for slo in slos]
        values[one.name] = (
            max(every) if one.name.endswith("_min") or one.name in ("baseline_s", "hold_s") else min(every)
        )
    return Slo(**values)
