"""What a scenario promises, spelled out as claims: each word, each criterion, and a witness for each playbook."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import yaml

from harness import catalog
from harness.catalog import nearest
from harness.claims import ClaimError, parse
from harness.contracts import Target
from harness.model import INVARIANT, Claim, Setup, Step
from harness.required import invariant_claims, validity_claims
from harness.scenario import FOLDER, Scenario

CROSS_LAYER = ("layer2", "layer3", "external")
CRITERION = "criterion"
PUT_OFF = ("all_requests_processed", "invalid_rejected", "valid_processed")  # by what is not of this plan
Coverage = dict[str, tuple[tuple[str, str], ...]]  # step id → ((safeguard, playbook), ...)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The claims of a plan, what counts as detection, what the target lacks, and the words that nobody knows."""

    claims: tuple[Claim, ...]
    coverage: Coverage
    subjects: Mapping[str, Mapping[str, str]]
    not_applicable: tuple[str, ...]
    problems: tuple[str, ...]


def expect(scenario: Scenario, target: Target, steps: Sequence[Step], metrics: Mapping[str, str]) -> Expected:
    """All that *scenario* claims of *steps* on *target*."""
    problems = [*_unknown_words(scenario, target), *_unknown_detection(scenario, target, steps)]
    coverage = _coverage(scenario, steps)
    claims = _safeguards(scenario, coverage) + _playbooks(scenario, steps, coverage)
    for text, place in scenario.verification:
        try:
            claim = parse(text, catalog.plain_checks(), metrics, target.kernels)
        except ClaimError as error:
            problems.append(f"{place}: verification: {error}")
            continue
        needs = _needs(claim, steps)
        if claim.check == "playbooks_repeat":
            needs = tuple(step for name in scenario.expected_playbooks for step in _covered_by(coverage, name, 1))
        claims.append(replace(claim, needs=needs, where=place))
    claims += _criteria(scenario, steps) + _deeds(target) + invariant_claims() + validity_claims(steps)
    claims = [replace(one, args={"deferring": _deferring()}) if one.check in PUT_OFF else one for one in claims]
    return Expected(
        claims=tuple(_once(claims)),
        coverage=coverage,
        subjects=_subjects(steps, coverage),
        not_applicable=tuple(lacks(scenario, target)),
        problems=tuple(problems),
    )


def setup_of(scenario: Scenario, steps: Sequence[Step]) -> Setup:
    """Facts of *scenario* that checks may know before any run."""
    coverage = _coverage(scenario, steps)
    covered = tuple((step, coverage[step.step_id]) for step in steps)
    return Setup(covered=covered, safeguards=scenario.expected_safeguards)


@cache
def _coverage_file() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load((FOLDER / "coverage.yaml").read_text(encoding="utf-8"))
    return data


def alarm_witnesses() -> dict[str, dict[str, dict[str, Any]]]:
    """{safeguard: {what it names, or "*": our own witness that it had cause}} of scenarios/coverage.yaml."""
    return {name: dict(rows) for name, rows in _coverage_file().get("alarms", {}).items()}


def explained_alarms() -> dict[str, tuple[dict[str, str], ...]]:
    """{type of fault: the alarms that it explains} of scenarios/coverage.yaml, whatever `detected_by` says.

    A row has a `safeguard`, and may have the one `subject` that it names then, and `only`, a condition.
    """
    data = _coverage_file()
    found = {
        kind: [{key: str(word) for key, word in row.items() if key != "playbook"} for row in rows]
        for kind, rows in data["faults"].items()
    }
    for kind, names in data.get("side_alarms", {}).items():
        found.setdefault(kind, []).extend({"safeguard": name} for name in names)
    return {kind: tuple(rows) for kind, rows in found.items()}


def _coverage(scenario: Scenario, steps: Sequence[Step]) -> Coverage:
    """By the scenario's own `detected_by`, else by scenarios/coverage.yaml."""
    known = _coverage_file()["faults"]
    playbooks = {row["safeguard"]: row.get("playbook", "") for rows in known.values() for row in rows}
    found: Coverage = {}
    for step in steps:
        rows = tuple((row["safeguard"], row.get("playbook", "")) for row in known.get(step.type, []))
        if step.type in scenario.detected_by:
            mine = dict(rows)
            rows = tuple((name, mine.get(name, playbooks.get(name, ""))) for name in scenario.detected_by[step.type])
        found[step.step_id] = rows
    return found


def playbook_for(scenario: Scenario, kind: str) -> str:
    """The playbook that answers a fault of this type, by what counts as its detection; "" for none."""
    known = _coverage_file()["faults"]
    rows = {row["safeguard"]: row.get("playbook", "") for row in known.get(kind, [])}
    names = scenario.detected_by.get(kind, tuple(rows))
    return next((rows[name] for name in names if rows.get(name)), "")


def _subjects(steps: Sequence[Step], coverage: Coverage) -> dict[str, dict[str, str]]:
    """What a safeguard names that sees a fault by its effect elsewhere, such as a queue that a flood fills.

    It may do so for one type of fault, and name another's own subject. A type for which only the scenario itself
    counts it as detection has what the safeguard names wherever it is known.
    """
    known: dict[tuple[str, str], str] = {}
    anywhere: dict[str, set[str]] = {}
    for kind, rows in _coverage_file()["faults"].items():
        for row in rows:
            known[kind, row["safeguard"]] = subject = str(row.get("subject", ""))
            anywhere.setdefault(row["safeguard"], set()).add(subject)
    found: dict[str, dict[str, str]] = {}
    for step in steps:
        for name, _ in coverage[step.step_id]:
            only = anywhere.get(name, set())
            subject = known.get((step.type, name), next(iter(only)) if len(only) == 1 else "")
            if subject:
                found.setdefault(step.step_id, {})[name] = subject
    return found


def _unknown_words(scenario: Scenario, target: Target) -> list[str]:
    problems = []
    for key, known in (("expected_safeguards", target.safeguards), ("expected_playbooks", target.playbooks)):
        for name in getattr(scenario, key):
            if name not in known:
                kind = key.removeprefix("expected_").removesuffix("s")
                problems.append(f"{scenario.places[key]}: no {kind} is called {name!r}.{nearest(name, known)}")
    return problems


def _unknown_detection(scenario: Scenario, target: Target, steps: Sequence[Step]) -> list[str]:
    problems: list[str] = []
    types = {step.type for step in steps} | {entry.type for entry in scenario.faults}  # also one that is wrong itself
    for key, names in scenario.detected_by.items():
        place = f"{scenario.places['detected_by']}: detected_by"
        if key not in types:
            problems.append(f"{place}: the scenario has no fault {key!r}.{nearest(key, types)}")
        for name in names:
            if name not in target.safeguards:
                problems.append(f"{place}: no safeguard is called {name!r}.{nearest(name, target.safeguards)}")
    return problems


def lacks(scenario: Scenario, target: Target) -> list[str]:
    """The prerequisites that this target does not have: a kernel, safeguard, playbook, route, path,
    capability, or N_cores of this machine.
    """
    routes = {route.name for route in target.routes}
    has = {*target.kernels, *target.safeguards, *target.playbooks, *routes, *target.paths, *target.capabilities}
    has |= {f"{os.cpu_count()}_cores"}
    return [
        f"prerequisite {word!r}: the target has nothing of that name.{nearest(word, has)}"
        for word in scenario.prerequisites
        if word not in has
    ]


def _covered_by(coverage: Coverage, word: str, place: int) -> tuple[str, ...]:
    """The steps that safeguard (place 0) or playbook (place 1) *word* is there for."""
    return tuple(step_id for step_id, rows in coverage.items() if word in {row[place] for row in rows})


def _safeguards(scenario: Scenario, coverage: Coverage) -> list[Claim]:
    return [
        Claim(
            claim=f"safeguard {name} engages",
            check="safeguard_engaged",
            args={"safeguard": name},
            group="safeguard",
            needs=_covered_by(coverage, name, 0),
        )
        for name in scenario.expected_safeguards
    ]


def _playbooks(scenario: Scenario, steps: Sequence[Step], coverage: Coverage) -> list[Claim]:
    """Each expected playbook, and a witness for it other than the target's own word."""
    claims = []
    for name in scenario.expected_playbooks:
        needs = _covered_by(coverage, name, 1)
        text = f"playbook {name} runs and succeeds"
        claims.append(Claim(claim=text, check="playbook_ran", args={"playbook": name}, group="playbook", needs=needs))
        witness = witness_of(name)
        claims += _witness(witness, name, [step for step in steps if step.step_id in needs], scenario)
    return claims


def witness_of(playbook: str) -> str:
    """The check that shows what *playbook* did, other than by the target's word; "" for none."""
    return str((_coverage_file()["playbooks"].get(playbook) or {}).get("witness", ""))


def _witness(witness: str, playbook: str, steps: Sequence[Step], scenario: Scenario) -> list[Claim]:
    needs = tuple(step.step_id for step in steps)
    if witness == "answered_stale" and steps:
        text = "clients are answered from what is stored, while a dependency is late and only then"
        told = {"playbook": playbook}
        return [Claim(claim=text, check=witness, args=told, group="playbook", needs=needs)]
    if witness == "load_shed" and steps:
        text = "clients see work deferred, while the pressure lasts and only then"
        args: Mapping[str, Any] = {"playbook": playbook, "deferring": _deferring()}
        return [Claim(claim=text, check="load_shed", args=args, group="playbook", needs=needs)]
    if witness == "refused_unrecorded" and steps:
        text = "who asks for what cannot be recorded is refused and told when to come again, and nobody else is"
        return [Claim(claim=text, check=witness, args={"playbook": playbook}, group="playbook", needs=needs)]
    if witness in NEEDED_DAMAGE and steps:
        return [Claim(claim=MENDED[witness], check=witness, group="playbook", needs=needs)]
    if witness == "workers_restarted" and steps:
        text = "each worker that was held up or ended was replaced, and its pool went on"
        return [Claim(claim=text, check=witness, group="playbook", needs=needs)]
    claims = []
    for step in steps:
        said: list[tuple[str, Mapping[str, Any]]] = []
        if witness == "actor_cut_off":
            words = f"the harness's own subscriber hears nothing more of {step.subject}"
            said = [(words, {"playbook": playbook, "step_id": step.step_id})]
        elif witness == "restarted":
            limit_s = float(scenario.max_recovery_time)
            struck = step.kernels or (step.subject,)
            said = [
                (f"{one} has a new process, and its route answers", {"kernel": one, "within_s": limit_s})
                for one in struck
            ]
        claims += [
            Claim(claim=words, check=witness, args=about, group="playbook", needs=(step.step_id,))
            for words, about in said
        ]
    return claims


def _deferring() -> list[str]:
    """The playbooks that defer work, whatever they do it for."""
    books = _coverage_file()["playbooks"].items()
    return [name for name, one in books if one.get("witness") in ("load_shed", "refused_unrecorded")]


def _criteria(scenario: Scenario, steps: Sequence[Step]) -> list[Claim]:
    """What holds for every scenario, and for those of its category, on top of its own words."""
    general = {
        "all_faults_injected": "all faults injected",
        "recovery_within_limit": f"recovered within {scenario.max_recovery_time:g} s, and stayed so",
        "no_cascading_failure": "no cascading failure",
    }
    multi_fault = {"each_fault_detected": f"each fault detected within {scenario.slo.detect_s_max:g} s"}
    cross_layer = {
        "api_responsive": "API stays responsive",
        "invalid_rejected": "invalid requests rejected",
        "valid_processed": "valid ones processed",
        "audit_complete": "audit trail complete",
    }
    if not any(map(_sends_invalid, steps)):
        del cross_layer["invalid_rejected"]  # nothing to reject: it would say nothing
    deep_complexity = {
        "api_responsive": "operational throughout",
        "graceful_degradation": "only graceful degradation",
        "kernels_survive": "all kernels survive",
        "state_consistent": "state consistent",
    }
    mine = {
        **general,
        **(deep_complexity if scenario.category == "deep_complexity" else {}),
        **(multi_fault if scenario.category == "multi_fault" else {}),
        **(cross_layer if scenario.category in CROSS_LAYER else {}),
    }
    return [Claim(claim=text, check=check, group=CRITERION) for check, text in mine.items()]


def _deeds(target: Target) -> list[Claim]:
    """What the harness did must stand in the target's own log, where that lets it write."""
    text = "what was done stands in the target's immutable log, and its chain is whole"
    return [Claim(claim=text, check="deeds_logged", group=CRITERION)] if target.immutable_log else []


def _sends_invalid(step: Step) -> bool:
    """Whether a step's requests are such that the target must refuse some."""
    return bool(step.params.get("invalid_ratio") or step.params.get("malformations"))


def _needs(claim: Claim, steps: Sequence[Step]) -> tuple[str, ...]:
    """The faults without whose full magnitude a claim says nothing."""
    if claim.check == "restarted":
        return tuple(one.step_id for one in steps if claim.args["kernel"] in (one.subject, *one.kernels))
    if claim.check == "metric":
        return tuple(step.step_id for step in steps if moves(step, claim.args["metric"]))
    if claim.check in NEEDED_DAMAGE:
        return tuple(step.step_id for step in steps if step.type == NEEDED_DAMAGE[claim.check])
    if claim.check in ("all_safeguards_triggered", "alerts_raised"):
        return tuple(step.step_id for step in steps)
    return ()


# check → the type of fault whose mending it judges
NEEDED_DAMAGE = {
    "models_restored": "model_corruption",
    "fallback_model_activated": "model_degradation",
    "snapshot_regenerated": "snapshot_corruption",
    "config_restored": "config_corruption",
    "log_restored": "log_corruption",
}
MENDED = {
    "fallback_model_activated": "clients are answered by another model, as surely as before, until the first is well",
    "models_restored": "the models are what they were, on the disk and in what the target answers",
    "snapshot_regenerated": "each key of the snapshot fits its checksum again",
    "config_restored": "the configuration on the disk is what it was",
    "log_restored": "each entry of the log is what it was, and its chain is whole",
}
# metric → the magnitudes (name, unit) of the faults that it is the effect of
NEEDED_MAGNITUDE: Mapping[str, tuple[tuple[str, str], ...]] = {
    "cpu_usage_peak": (("cpu", "%"),),
    "memory_usage_peak": (("memory", "%"), ("held", "MB")),
    "disk_io_peak": (("busy", "%"), ("rate", "ops/s")),
    # what a topic takes is no violation, and that there is none is shown only by as many as were asked for
    "message_bus.acl_violations": (("rate", "msg/s"), ("refused", "messages"), ("answered", "msg/s"), ("messages", "")),
}


def moves(step: Step, metric: str) -> bool:
    """Whether *metric* is the effect of what *step* is asked for: without all of that, it says nothing."""
    return (step.asked.name, step.asked.unit) in NEEDED_MAGNITUDE.get(metric, ())


def _as_strict(one: Claim, other: Claim) -> bool:
    """Whether *one* says all that *other* says of the same kernel or damage, in no longer time."""
    same = (one.check, one.args.get("kernel")) == (other.check, other.args.get("kernel"))
    limits_s = (float(claim.args.get("within_s", 0.0)) for claim in (one, other))
    return same and next(limits_s) <= next(limits_s)


def _once(claims: Sequence[Claim]) -> list[Claim]:
    """Without those that say the same of the same, such as a restart that the scenario also asks for in its words.

    What the scenario asks for twice, under two names of a check, stays: each of its words has an answer. A criterion
    stays whatever the scenario says: whoever counts those of its category finds all of them. So does an invariant.
    """
    seen: dict[tuple[str, str, bool], set[str]] = {}
    kept = []
    witnesses = ("restarted", *NEEDED_DAMAGE)
    written = [one for one in claims if one.check in witnesses and one.where]
    for claim in claims:
        if claim.check in witnesses and not claim.where and any(_as_strict(one, claim) for one in written):
            continue
        key = (claim.check, repr(sorted(claim.args.items())), claim.group in (CRITERION, INVARIANT))
        if key not in seen or (claim.where and claim.claim not in seen[key]):
            kept.append(claim)
        seen.setdefault(key, set()).add(claim.claim)
    return kept
