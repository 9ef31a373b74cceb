"""Scenario + target → Plan: absolute times, scaled durations, every word checked, every claim spelled out."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

from harness import catalog
from harness.catalog import CatalogError, nearest
from harness.claims import RESTARTED, ClaimError, parse
from harness.contracts import Target, TargetError, TargetLacks
from harness.expect import expect
from harness.model import Claim, Magnitude, Plan, Slo, Step
from harness.scenario import FaultEntry, Scenario, ScenarioError

SHORTEST_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line adds to a scenario."""

    seed: int
    time_scale: float = 1.0
    control: bool = False
    users: int | None = None


def build_plan(
    scenario: Scenario, target: Target, options: Options, metrics: frozenset[str]
) -> tuple[Plan, dict[str, Any]]:
    """The plan and its faults by step id. Raises ScenarioError with all that does not fit."""
    problems: list[str] = []
    faults: dict[str, Any] = {}
    steps = []
    lacking: list[str] = []
    spacing_s = float(scenario.execution.get("spacing_seconds", 0)) * options.time_scale
    if scenario.execution.get("all_simultaneous"):
        spacing_s = 0.0
    numbers: Counter[str] = Counter()
    for position, entry in enumerate(scenario.faults):
        try:
            fault, asked_s = _fault(entry, options.time_scale)
        except CatalogError as error:
            problems.append(f"{entry.where}: {error}")
            continue
        numbers[entry.type] += 1
        step_id = entry.type if numbers[entry.type] == 1 else f"{entry.type}#{numbers[entry.type]}"
        faults[step_id] = fault
        if entry.type == "kernel_pause" and fault.target not in target.kernels:
            known = nearest(fault.target, target.kernels)
            problems.append(f"{entry.where}: the target has no kernel {fault.target!r}.{known}")
        lacking += _lacks(step_id, fault, target)
        steps.append(_step(step_id, entry, fault, position * spacing_s, asked_s))
    expected = expect(scenario, target, steps, metrics)
    problems += expected.problems
    if problems:
        raise ScenarioError(problems)
    plan = Plan(
        scenario_id=scenario.scenario_id,
        name=scenario.name,
        category=scenario.category,
        severity=scenario.severity,
        seed=options.seed,
        time_scale=options.time_scale,
        control=options.control,
        steps=tuple(steps),
        claims=expected.claims,
        slo=scenario.slo,
        recovery_limit_s=scenario.max_recovery_time,
        users=options.users or scenario.users,
        expected_safeguards=scenario.expected_safeguards,
        expected_playbooks=scenario.expected_playbooks,
        coverage=expected.coverage,
        expected_behavior=scenario.expected_behavior,
        prerequisites=scenario.prerequisites,
        not_applicable=(*expected.not_applicable, *lacking),
        routes={route.name: tuple(route.kernels) for route in target.routes},
        kernels=tuple(target.kernels),
        witnesses={route.witness_of: route.name for route in target.routes if route.witness_of},
    )
    if options.control:
        control = Claim(claim="no safeguard engages without a fault", check="control_clean", group="validity")
        general = [c for c in expected.claims if c.check in ("baseline_steady", "run_complete", "journal_intact")]
        plan = replace(plan, steps=(), claims=(control, *general))
        faults = {}
    return plan, faults


def lint(scenario: Scenario, metrics: frozenset[str]) -> None:
    """Checks every word that needs no target. Raises ScenarioError with all that is wrong."""
    problems: list[str] = []
    for entry in scenario.faults:
        try:
            _fault(entry, 1.0)
        except CatalogError as error:
            problems.append(f"{entry.where}: {error}")
    for text, place in scenario.verification:
        restarted = RESTARTED.match(text)
        try:
            parse(text, catalog.plain_checks(), metrics, [restarted.group(1)] if restarted else [])
        except ClaimError as error:
            problems.append(f"{place}: verification: {error}")
    if problems:
        raise ScenarioError(problems)


def _fault(entry: FaultEntry, time_scale: float) -> tuple[Any, float]:
    """The injector with its scaled length, and the length that was asked."""
    values = dict(entry.params)
    if entry.target is not None:
        values["target"] = entry.target
    asked = catalog.build_fault(entry.type, values)
    name = asked.duration_field
    asked_s = float(getattr(asked, name)) if name else 0.0
    scaled_s = max(asked_s * time_scale, min(asked_s, max(SHORTEST_S, asked.min_duration_s)))
    return (replace(asked, **{name: scaled_s}) if name else asked), asked_s


def _lacks(step_id: str, fault: Any, target: Target) -> list[str]:
    """What the target does not offer to this fault, by its manifest; preparing touches nothing."""
    try:
        fault.prepare(target)
    except TargetLacks as error:
        return [f"{step_id}: {error}"]
    except TargetError:
        return []  # it offers it, and is in trouble: the run will tell
    return []


def _step(step_id: str, entry: FaultEntry, fault: Any, at_s: float, asked_s: float) -> Step:
    params = asdict(fault)
    return Step(
        step_id=step_id,
        type=entry.type,
        target=str(params.pop("target", "")),
        params=params,
        at_s=at_s,
        duration_s=float(getattr(fault, fault.duration_field)) if fault.duration_field else 0.0,
        asked_duration_s=asked_s,
        subject=fault.subject,
        asked=fault.asked,
        where=entry.where,
    )


def plan_to_json(plan: Plan) -> str:
    return json.dumps(asdict(plan), indent=1, ensure_ascii=False) + "\n"


def plan_from_json(text: str) -> Plan:
    """The plan that plan_to_json wrote. Raises ValueError for anything else."""
    data = json.loads(text)
    try:
        steps = tuple(Step(**{**one, "asked": Magnitude(**one["asked"])}) for one in data["steps"])
        claims = tuple(Claim(**{**one, "needs": tuple(one["needs"])}) for one in data["claims"])
        coverage = {k: tuple((row[0], row[1]) for row in rows) for k, rows in data["coverage"].items()}
        tuples = {
            key: tuple(data[key])
            for key in (
                "expected_safeguards",
                "expected_playbooks",
                "expected_behavior",
                "prerequisites",
                "not_applicable",
                "kernels",
            )
        }
        routes = {name: tuple(kernels) for name, kernels in data["routes"].items()}
        rest = {**data, **tuples, "slo": Slo(**data["slo"])}
        return Plan(**{**rest, "steps": steps, "claims": claims, "coverage": coverage, "routes": routes})
    except (KeyError, TypeError) as error:
        raise ValueError(f"plan.json: not a plan: {error}") from None


def describe(plan: Plan) -> str:
    """What is printed before anything starts."""
    lines = [
        f"{plan.scenario_id}: {plan.name} (severity {plan.severity}, {plan.category})",
        f"  seed {plan.seed}, time scale {plan.time_scale:g}, {plan.users} legitimate users"
        + (", control: no fault is injected" if plan.control else ""),
    ]
    for step in plan.steps:
        asked = f"{step.asked.value:g} {step.asked.unit}".strip() if step.asked.unit else "stopped"
        scaled = f" (asked {step.asked_duration_s:g} s)" if step.asked_duration_s != step.duration_s else ""
        on = step.subject if step.subject == step.target else f"{step.target}, {step.subject}"
        lines.append(f"  at +{step.at_s:g} s  {step.step_id} on {on}: {asked} for {step.duration_s:g} s{scaled}")
    lines.append(
        f"  baseline {plan.slo.baseline_s:g} s, hold {plan.slo.hold_s:g} s,"
        f" recovery within {plan.recovery_limit_s:g} s; {len(plan.claims)} claims"
    )
    return "\n".join(lines)
