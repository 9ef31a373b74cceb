"""Scenario + target → Plan: absolute times, scaled durations, every word checked, every claim spelled out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, fields, replace
from itertools import combinations, islice
from typing import Any

from harness import catalog
from harness.catalog import CatalogError, nearest
from harness.claims import ALIASES, RESTARTED, ClaimError, parse
from harness.classic_claims import kernel_of
from harness.contracts import Target, TargetError, TargetLacks
from harness.draw import SHORTEST_S, begins_s, can_overlap, cut_s, does_not_fit, draws
from harness.expect import alarm_witnesses, expect, explained_alarms, playbook_for, setup_of
from harness.impossible import impossible
from harness.limits import Limits, exceeded
from harness.model import Claim, Magnitude, Plan, Setup, Slo, Step, check_fields
from harness.required import invariant_claims, validity_claims
from harness.scenario import Execution, FaultEntry, Scenario, ScenarioError
from harness.stop import StopError, parse_stop

FAILOVER_CHECK = "failover_within_limit"
CONCURRENT_CHECK = "playbooks_concurrent"
DRAWS_MAX = 1000
MACHINE = "machine"  # the target of a fault that makes all of it short


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line adds to a scenario."""

    seed: int
    time_scale: float = 1.0
    control: bool = False
    users: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Faults with their times, and what is to be said of them."""

    steps: list[Step]
    faults: dict[str, Any]  # by step id
    lacking: list[str]  # what the target does not offer
    notes: list[str]
    problems: list[str]


def build_plan(
    scenario: Scenario, target: Target, options: Options, metrics: Mapping[str, str]
) -> tuple[Plan, dict[str, Any]]:
    """The plan and its faults by step id. Raises ScenarioError with all that does not fit."""
    drawn, redrawn = _drawn(scenario, options.seed)
    laid = _lay_out(drawn, scenario.execution, target, options.time_scale)
    others = [one for one in scenario.pool if one not in drawn]  # a wrong entry is told whatever the seed
    left_out = _lay_out(others, scenario.execution, target, options.time_scale)
    whole = (setup_of(scenario, laid.steps), setup_of(scenario, left_out.steps))
    scenario, notes = _of_the_drawn(scenario, target, laid.steps, left_out.steps)
    expected = expect(scenario, target, laid.steps, metrics)
    notes += [redrawn] if redrawn else []
    problems = [*_unfit(scenario), *laid.problems, *left_out.problems, *expected.problems]
    problems += _too_much(scenario, laid.steps, options.users or scenario.users)
    problems += _mistaken(laid, target)
    if not problems:  # what is wrong itself leaves gaps that would be told twice
        covered = (*whole[0].covered, *whole[1].covered)
        problems += impossible(scenario, expected.claims, _setup(scenario, target, covered))
    if problems:
        raise ScenarioError(problems)
    faults = laid.faults
    plan = Plan(
        scenario_id=scenario.scenario_id,
        name=scenario.name,
        category=scenario.category,
        severity=scenario.severity,
        seed=options.seed,
        time_scale=options.time_scale,
        control=options.control,
        steps=tuple(laid.steps),
        claims=expected.claims,
        slo=scenario.slo,
        recovery_limit_s=scenario.max_recovery_time,
        users=options.users or scenario.users,
        expected_safeguards=scenario.expected_safeguards,
        expected_playbooks=scenario.expected_playbooks,
        coverage=expected.coverage,
        subjects=expected.subjects,
        expected_behavior=scenario.expected_behavior,
        prerequisites=scenario.prerequisites,
        not_applicable=(*expected.not_applicable, *laid.lacking),
        routes={route.name: tuple(route.kernels) for route in target.routes},
        kernels=tuple(target.kernels),
        notes=(*notes, *laid.notes),
        stop_when=tuple(text for text, _ in scenario.stop_when),
        unsafe=dict(scenario.unsafe),
        witnesses={route.witness_of: route.name for route in target.routes if route.witness_of},
        offers=tuple(target.offers),
        effects={name: dict(one) for name, one in target.playbook_effects.items()},
        alarms=alarm_witnesses(),
        explains=explained_alarms(),
        require=scenario.require,
    )
    if options.control:
        control = Claim(claim="no safeguard engages without a fault", check="control_clean", group="validity")
        plan = replace(plan, steps=(), claims=(control, *invariant_claims(), *validity_claims(())))
        faults = {}
    return plan, faults


def _setup(scenario: Scenario, target: Target, covered: Sequence[tuple[Step, tuple[tuple[str, str], ...]]]) -> Setup:
    """Return all that decides whether a claim can ever pass; *covered*: also of faults that this seed does not draw."""
    return Setup(
        covered=tuple(covered),
        safeguards=scenario.expected_safeguards,
        routes={route.name: tuple(route.kernels) for route in target.routes},
        kernels=tuple(target.kernels),
        drawn=bool(scenario.pool),
    )


def _drawn(scenario: Scenario, seed: int) -> tuple[Sequence[FaultEntry], str]:
    """(the faults to inject, what is to be said of how they were drawn).

    A scenario that must show playbooks side by side is drawn again, from the same seed, until two can be.
    """
    wanted = next((place for text, place in scenario.verification if ALIASES.get(text, text) == CONCURRENT_CHECK), "")
    many = draws(scenario, seed)
    if not wanted or not scenario.pool or any(_wrong(entry, None) for entry in scenario.pool):
        return next(many), ""
    for times, drawn in enumerate(islice(many, DRAWS_MAX)):
        if can_overlap(scenario.execution, [_answer(scenario, entry) for entry in drawn]):
            return drawn, f"drawn again {times} times: no two playbooks could have run side by side" if times else ""
    raise ScenarioError([f"{wanted}: verification: {CONCURRENT_CHECK}: no draw has two playbooks that can overlap"])


def _answer(scenario: Scenario, entry: FaultEntry) -> tuple[str, float]:
    """(the playbook that answers a fault, "" for none; for how long it surely lasts)."""
    fault = _build(entry)
    lasts_s = float(getattr(fault, fault.duration_field)) if fault.duration_field else 0.0
    return playbook_for(scenario, entry.type), 0.0 if getattr(fault, "target_ends_it", False) else lasts_s


def _lay_out(entries: Sequence[FaultEntry], execution: Execution, target: Target, time_scale: float) -> _Layout:
    laid = _Layout(steps=[], faults={}, lacking=[], notes=[], problems=[])
    numbers: Counter[str] = Counter()
    for position, entry in enumerate(entries):
        wrong = _wrong(entry, target)
        laid.problems.extend(wrong)
        if wrong:
            continue
        numbers[entry.type] += 1
        step_id = entry.type if numbers[entry.type] == 1 else f"{entry.type}#{numbers[entry.type]}"
        at_s = begins_s(execution, position, time_scale)
        fault, asked_s, note = _fault(entry, execution, at_s, time_scale)
        notes = (note, _of_all(entry, fault, target), _caveat(fault, target))
        laid.notes.extend(f"{step_id} {one}" for one in notes if one)
        laid.faults[step_id] = fault
        laid.lacking.extend(_lacks(step_id, fault, target))
        laid.steps.append(_step(step_id, entry, fault, at_s, asked_s, _subject(fault, target)))
    return laid


def lint(scenario: Scenario, metrics: Mapping[str, str]) -> None:
    """Checks every word that needs no target. Raises ScenarioError with all that is wrong."""
    problems = _unfit(scenario)
    for entry in (*scenario.faults, *scenario.pool):
        problems += _wrong(entry, None)
    for text, place in scenario.verification:
        restarted = RESTARTED.match(text)
        kernel = restarted.group(1) if restarted else kernel_of(text)
        try:
            parse(text, catalog.plain_checks(), metrics, [kernel])
        except ClaimError as error:
            problems.append(f"{place}: verification: {error}")
    if problems:
        raise ScenarioError(problems)


def lacking(entry: FaultEntry, target: Target) -> list[str]:
    """What *target* does not offer to a fault, each with the fault's place; nothing of one that is wrong itself."""
    try:
        return [f"{entry.where}: {why}" for why in _lacks(entry.type, _build(entry), target)]
    except CatalogError:
        return []


def _too_much(scenario: Scenario, steps: Sequence[Step], users: int) -> list[str]:
    """What goes beyond the limits that the scenario does not lift."""
    place = scenario.places["scenario_id"]
    found = exceeded(Limits().lifted(scenario.unsafe), steps, users)
    return [one if one.startswith(place.rpartition(":")[0]) else f"{place}: {one}" for one in found]


def _mistaken(laid: _Layout, target: Target) -> list[str]:
    """Attacks that share an address at a time: nobody could tell which of them a limiter means."""
    found = []
    attacks = [step for step in laid.steps if getattr(laid.faults[step.step_id], "of_generator", False)]
    attacks.sort(key=lambda step: step.at_s)
    for first, second in combinations(attacks, 2):
        shared = _senders(laid.faults[first.step_id], target) & _senders(laid.faults[second.step_id], target)
        if shared and second.at_s < first.at_s + float(laid.faults[first.step_id].limit_s):
            address = min(shared)
            said = f"{second.step_id} sends from {address} while {first.step_id} ({first.where}) does"
            local = address.startswith("127.")
            way = "give one of them another client_block" if local else "towards this host only one can be at a time"
            found.append(f"{second.where}: {said}: {way}")
    return found


def _senders(fault: Any, target: Target) -> set[str]:
    try:
        return set(fault.senders_on(target))
    except TargetError:
        return set()  # it cannot be sent at all: the run will tell


def _unfit(scenario: Scenario) -> list[str]:
    """What a scenario's own words promise and cannot be kept."""
    problems = []
    count = scenario.execution.random_selection or len(scenario.pool or scenario.faults)
    why = does_not_fit(scenario.execution, count)
    if why:
        problems.append(f"{scenario.places['execution']}: execution: {why}")
    for text, place in scenario.stop_when:
        try:
            parse_stop(text)
        except StopError as error:
            problems.append(f"{place}: stop_when: {error}")
    known = catalog.invariants()
    problems += [
        f"{scenario.places['require']}: require: no invariant is called {name!r}.{nearest(name, known)}"
        for name in scenario.require
        if name not in known
    ]
    if scenario.max_failover_time is not None and FAILOVER_CHECK not in catalog.checks():
        problems.append(f"{scenario.places['max_failover_time']}: max_failover_time: no check judges a failover yet")
    return problems


def _wrong(entry: FaultEntry, target: Target | None) -> list[str]:
    """What no injector knows of this fault, or *target* of its kernel (None: it is not asked)."""
    try:
        fault = _build(entry)
    except CatalogError as error:
        return [f"{entry.where}: {error}"]
    kernels = getattr(fault, "kernels", ())
    return [
        f"{entry.where}: the target has no kernel {kernel!r}.{nearest(kernel, target.kernels)}"
        for kernel in kernels
        if target is not None and kernel not in target.kernels
    ]


def _build(entry: FaultEntry) -> Any:
    """The injector as it is asked for. A bare name in a pool means the injector's own `defaults`, if it has any."""
    kind = catalog.faults().get(entry.type)
    values = dict(getattr(kind, "defaults", {})) if entry.bare else dict(entry.params)
    if entry.target is not None:
        values["target"] = entry.target
    missing = [one.name for one in (fields(kind) if kind else ()) if one.name not in values and _is_needed(one)]
    if entry.bare and missing:
        raise CatalogError(f"{entry.type} needs {', '.join(missing)}: write it as {{type, target, params}}")
    lists = [one.name for one in (fields(kind) if kind else ()) if str(one.type).startswith("tuple")]
    for key in lists:
        if key in values and not isinstance(values[key], list | tuple):
            raise CatalogError(f"{entry.type}.{key}: a list is expected, not {values[key]!r}")
    try:
        return catalog.build_fault(entry.type, values)
    except (TypeError, AttributeError) as error:  # a list where an injector looks for a text, and the like
        raise CatalogError(f"{entry.type}: these values do not fit: {error}") from None


def _is_needed(one: Field[Any]) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _of_the_drawn(
    scenario: Scenario, target: Target, steps: list[Step], left_out: list[Step]
) -> tuple[Scenario, list[str]]:
    """The scenario without what only concerns faults that were not drawn, and what is to be said of it."""
    notes = []
    if scenario.execution.monitor_interval_seconds is not None:
        notes.append(f"sampled every 0.5 s (asked {scenario.execution.monitor_interval_seconds:g} s)")
    if not scenario.pool:
        return scenario, notes
    notes.append(f"drawn from a pool of {len(scenario.pool)}: {', '.join(step.step_id for step in steps)}")
    types = {step.type for step in left_out} - {step.type for step in steps}
    detected_by = {kind: names for kind, names in scenario.detected_by.items() if kind not in types}
    unneeded = _covering(scenario, target, left_out) - _covering(scenario, target, steps)
    safeguards = tuple(name for name in scenario.expected_safeguards if name not in unneeded)
    playbooks = tuple(name for name in scenario.expected_playbooks if name not in unneeded)
    gone = [one for one in (*scenario.expected_safeguards, *scenario.expected_playbooks) if one in unneeded]
    notes += [f"not expected, as their faults were not drawn: {', '.join(gone)}"] if gone else []
    kept = replace(scenario, detected_by=detected_by, expected_safeguards=safeguards, expected_playbooks=playbooks)
    return kept, notes


def _covering(scenario: Scenario, target: Target, steps: list[Step]) -> set[str]:
    """The safeguards and playbooks that are there for *steps*."""
    rows = expect(scenario, target, steps, {}).coverage.values()
    return {name for pairs in rows for pair in pairs for name in pair}


def _fault(entry: FaultEntry, execution: Execution, at_s: float, time_scale: float) -> tuple[Any, float, str]:
    """(the injector with the length that it will have, the length that was asked, what was cut)."""
    asked = _build(entry)
    name = asked.duration_field
    if not name:
        return asked, 0.0, ""
    asked_s = float(getattr(asked, name))
    floor_s = max(SHORTEST_S, asked.min_duration_s)
    scaled_s = max(asked_s * time_scale, min(asked_s, floor_s))
    left_s, note = cut_s(execution, at_s, scaled_s, floor_s, time_scale)
    return replace(asked, **{name: left_s}), asked_s, note


def _of_all(entry: FaultEntry, fault: Any, target: Target) -> str:
    """What is to be said of a fault that is aimed at a kernel and cannot be for one alone; "" for nothing."""
    if getattr(type(fault), "target", "") != MACHINE or entry.target not in target.kernels:
        return ""
    if getattr(fault, "kernels", ()):  # what is short is that kernel's own
        return ""
    whole = "all of the target" if getattr(fault, "scope", "") == "target" else "the whole machine"
    return f"is not for {entry.target} alone: it makes {whole} short"


def _caveat(fault: Any, target: Target) -> str:
    """In what a fault is not what was asked for, on this target and for this user; "" when it is."""
    caveat = getattr(fault, "caveat", None)
    return str(caveat(target)) if caveat else ""


def _lacks(step_id: str, fault: Any, target: Target) -> list[str]:
    """What the target does not offer to this fault, by its manifest; preparing touches nothing."""
    try:
        fault.prepare(target)
    except TargetLacks as error:
        return [f"{step_id}: {error}"]
    except TargetError:
        return []  # it offers it, and is in trouble: the run will tell
    return []


def _subject(fault: Any, target: Target) -> str:
    """What a safeguard names; where only the target knows that, such as a worker of a pool, it is asked."""
    try:
        return str(fault.subject_on(target)) if hasattr(fault, "subject_on") else str(fault.subject)
    except TargetError:
        return str(fault.subject)  # it is not to be had here: _lacks has said so


def _step(step_id: str, entry: FaultEntry, fault: Any, at_s: float, asked_s: float, subject: str) -> Step:
    params = json.loads(json.dumps(asdict(fault)))  # as plan.json will hold them
    return Step(
        step_id=step_id,
        type=entry.type,
        target=str(params.pop("target", "")),
        params=params,
        at_s=at_s,
        duration_s=float(getattr(fault, fault.duration_field)) if fault.duration_field else 0.0,
        asked_duration_s=asked_s,
        subject=subject,
        asked=fault.asked,
        where=entry.where,
        kernels=tuple(getattr(fault, "kernels", ())),
        also_asked=tuple(getattr(fault, "also_asked", ())),
        witness=str(getattr(fault, "witness", "")),
    )


def _step_from(one: Mapping[str, Any]) -> Step:
    also = tuple(Magnitude(**more) for more in one.get("also_asked", ()))
    nouns = {"asked": Magnitude(**one["asked"]), "kernels": tuple(one.get("kernels", ())), "also_asked": also}
    return Step(**{**one, **nouns})


def plan_to_json(plan: Plan) -> str:
    return json.dumps(asdict(plan), indent=1, ensure_ascii=False) + "\n"


def plan_from_json(text: str) -> Plan:
    """The plan that plan_to_json wrote. Raises ValueError for anything else."""
    try:
        data = json.loads(text)
        steps = tuple(_step_from(one) for one in data["steps"])
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
        for key in ("notes", "stop_when", "offers", "require"):  # younger than the first run folders
            tuples[key] = tuple(data.get(key, ()))
        routes = {name: tuple(kernels) for name, kernels in data["routes"].items()}
        effects = {
            name: {key: tuple(words) for key, words in one.items()} for name, one in data.get("effects", {}).items()
        }
        explains = {kind: tuple(rows) for kind, rows in data.get("explains", {}).items()}  # younger as well
        rest = {**data, **tuples, "slo": Slo(**data["slo"]), "effects": effects, "explains": explains}
        unheard_of = {step_id for one in claims for step_id in one.needs} - {step.step_id for step in steps}
        if unheard_of:
            raise KeyError(f"no step is called {', '.join(sorted(unheard_of))}")
        plan = Plan(**{**rest, "steps": steps, "claims": claims, "coverage": coverage, "routes": routes})
        check_fields(plan)
        return plan
    except (KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(f"plan.json: not a plan: {error}") from None


def describe(plan: Plan) -> str:
    """What is printed before anything starts."""
    lines = [
        f"{plan.scenario_id}: {plan.name} (severity {plan.severity}, {plan.category})",
        f"  seed {plan.seed}, time scale {plan.time_scale:g}, {plan.users} legitimate users"
        + (", control: no fault is injected" if plan.control else ""),
    ]
    for step in plan.steps:
        scaled = f" (asked {step.asked_duration_s:g} s)" if step.asked_duration_s != step.duration_s else ""
        on = step.subject if step.subject == step.target else f"{step.target}, {step.subject}"
        length = f" for {step.duration_s:g} s{scaled}" if step.asked_duration_s else ", once"
        lines.append(f"  at +{step.at_s:g} s  {step.step_id} on {on}: {step.asked.words}{length}")
    lines += [f"  {note}" for note in plan.notes]
    lines += [f"  stops when {text}" for text in plan.stop_when]
    lines += [f"  UNSAFE: {name} is lifted to {value:g}" for name, value in plan.unsafe.items()]
    lines.append(
        f"  baseline {plan.slo.baseline_s:g} s, hold {plan.slo.hold_s:g} s,"
        f" recovery within {plan.recovery_limit_s:g} s; {len(plan.claims)} claims"
    )
    return "\n".join(lines)
