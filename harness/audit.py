"""Audit of scenarios: which promise is judged by which check from which sources, and what is not judged and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness import catalog
from harness.claims import ClaimError, parse
from harness.contracts import Target
from harness.expect import CRITERION, witness_of
from harness.metrics import UNITS
from harness.model import INVARIANT, Claim, Plan, Step
from harness.plan import Options, build_plan
from harness.scenario import Scenario, ScenarioError

FAULT, VALIDITY, VERIFICATION = "fault", "validity", "verification"
KINDS = (INVARIANT, "safeguard", "playbook", VERIFICATION, CRITERION, FAULT, VALIDITY)
MAGNITUDE_CHECK, SYMPTOM_CHECK = "fault_attained", "symptom_seen"
SEEDS = range(1, 200)  # a pool is drawn until each of its faults was
NO_SOURCES = "the check declares no sources"
NO_CHECK = "no check judges it"
NO_WITNESS = "no witness outside the injector"


@dataclass(frozen=True, kw_only=True)
class Promise:
    """One promise of a scenario. *check* is "" and *lacks* says why when nothing judges it.

    *not_judged* names the keys that the target's manifest lacks: of an invariant only.
    """

    kind: str
    text: str
    check: str = ""
    about: str = ""  # what tells two claims of one check apart, such as the metric
    sources: tuple[str, ...] = ()
    not_judged: tuple[str, ...] = ()
    lacks: str = ""

    @property
    def judge(self) -> str:
        """Name of the check, with its metric when it has one."""
        return f"{self.check} ({self.about})" if self.about else self.check


@dataclass(frozen=True, kw_only=True)
class Audit:
    """All promises of one scenario on one target."""

    scenario_id: str
    name: str
    category: str
    promises: tuple[Promise, ...]
    not_applicable: tuple[str, ...] = ()  # reasons why the scenario cannot run on this target
    notes: tuple[str, ...] = ()

    @property
    def lacking(self) -> list[str]:
        """Promises that nothing judges, a line each."""
        return [f"{self.scenario_id}: {one.kind}: {one.text}: {one.lacks}" for one in self.promises if one.lacks]


def expanded(sources: Iterable[str]) -> tuple[str, ...]:
    """Each source by itself: "timeline: a, b" becomes "timeline: a" and "timeline: b"."""
    found = []
    for source in sources:
        file, colon, parts = source.partition(": ")
        found += [f"{file}: {part}" for part in parts.split(", ")] if colon else [file]
    return tuple(found)


def audit(scenario: Scenario, target: Target) -> Audit:
    """The promises of *scenario* on *target*. Raises ScenarioError for a scenario that cannot be planned.

    The faults of a pool are drawn until each was: the promises are those of all draws.
    """
    plans = _plans(scenario, target)
    claimed = [_of_claim(plan, claim) for plan in plans for claim in plan.claims]
    claimed += [one for plan in plans for one in _also_asked(plan)]
    found = [*claimed, *_without_check(scenario, target, plans)]
    order = {kind: place for place, kind in enumerate(KINDS)}
    promises = sorted(dict.fromkeys(found), key=lambda one: order[one.kind])
    steps = {step.step_id for plan in plans for step in plan.steps}
    drawn = f"drawn from a pool: {', '.join(sorted(steps))}; a run has some of these, and what concerns them"
    return Audit(
        scenario_id=scenario.scenario_id,
        name=scenario.name,
        category=scenario.category,
        promises=tuple(promises),
        not_applicable=tuple(dict.fromkeys(lack for plan in plans for lack in plan.not_applicable)),
        notes=(drawn,) if scenario.pool else (),
    )


def _plans(scenario: Scenario, target: Target) -> list[Plan]:
    plans: list[Plan] = []
    wanted = {entry.type for entry in scenario.pool}
    for seed in SEEDS:
        plans.append(build_plan(scenario, target, Options(seed=seed), UNITS)[0])
        wanted -= {step.type for step in plans[-1].steps}
        if not wanted:
            return plans
    raise ScenarioError([f"{scenario.scenario_id}: {', '.join(sorted(wanted))} was never drawn from the pool"])


def _of_claim(plan: Plan, claim: Claim) -> Promise:
    kind = FAULT if _is_magnitude(claim) or claim.check == SYMPTOM_CHECK else claim.group
    step = next((one for one in plan.steps if _is_magnitude(claim) and one.step_id == claim.args["step_id"]), None)
    text = _magnitude(step) if step else claim.claim
    try:
        check = catalog.build_check(claim.check, claim.claim, claim.args)
    except (catalog.CatalogError, TypeError) as error:
        return Promise(kind=kind, text=text, lacks=str(error))
    sources = tuple(getattr(check, "sources", ()))
    lacks = "" if sources else NO_SOURCES
    sources += _measured_by(step) if step else ()
    missing = type(check).invariant.missing(plan.offers) if kind == INVARIANT else ()
    return Promise(
        kind=kind,
        text=text,
        check=claim.check,
        about=str(claim.args.get("metric", "")),
        sources=sources,
        not_judged=missing,
        lacks=lacks,
    )


def _magnitude(step: Step) -> str:
    length = f" for {step.asked_duration_s:g} s" if step.asked_duration_s else ""
    return f"{step.step_id} on {step.subject}: {step.asked.words}{length}"


def _measured_by(step: Step) -> tuple[str, ...]:
    """The injector's own samples, and the witness outside of it that the fault names."""
    witness = str(getattr(step, "witness", ""))
    return f"samples of {step.type}", f"witness: {witness}" if witness else NO_WITNESS


def _also_asked(plan: Plan) -> list[Promise]:
    """Each magnitude that a fault is asked for besides its first one, such as a rate, a concurrency or a share."""
    found = []
    for step in plan.steps:
        for more in getattr(step, "also_asked", ()):
            (one,) = [claim for claim in plan.claims if _is_magnitude(claim) and claim.args["step_id"] == step.step_id]
            found.append(replace(_of_claim(plan, one), text=f"{step.step_id}: {more.name} {more.value:g} {more.unit}"))
    return found


def _is_magnitude(claim: Claim) -> bool:
    return claim.check == MAGNITUDE_CHECK and claim.group == VALIDITY


def _without_check(scenario: Scenario, target: Target, plans: Sequence[Plan]) -> list[Promise]:
    """What the scenario promises in its words and no claim of any plan takes up."""
    claims = [claim for plan in plans for claim in plan.claims]
    found = []
    for kind, check, names in (
        ("safeguard", "safeguard_engaged", scenario.expected_safeguards),
        ("playbook", "playbook_ran", scenario.expected_playbooks),
    ):
        judged = {str(claim.args.get(kind)) for claim in claims if claim.check == check}
        found += [Promise(kind=kind, text=name, lacks=NO_CHECK) for name in names if name not in judged]
    found += [
        Promise(kind="playbook", text=f"effect of {name}", lacks=f"{NO_CHECK}: scenarios/coverage.yaml has no witness")
        for name in scenario.expected_playbooks
        if not _has_witness(name, claims)
    ]
    judged_claims = {(claim.check, repr(sorted(claim.args.items()))) for claim in claims}
    for text, _ in scenario.verification:
        try:
            mine = parse(text, catalog.plain_checks(), UNITS, target.kernels)
        except ClaimError as error:
            found.append(Promise(kind=VERIFICATION, text=text, lacks=str(error)))
            continue
        own_checks = {claim.check for claim in claims if claim.claim == text}
        if mine.check not in own_checks and (mine.check, repr(sorted(mine.args.items()))) not in judged_claims:
            found.append(Promise(kind=VERIFICATION, text=text, lacks=NO_CHECK))
    attained = {str(claim.args.get("step_id")) for claim in claims if claim.check == MAGNITUDE_CHECK}
    steps = {step.step_id: step for plan in plans for step in plan.steps}
    unjudged = [step for step in steps.values() if step.step_id not in attained]
    return [*found, *(Promise(kind=FAULT, text=_magnitude(step), lacks=NO_CHECK) for step in unjudged)]


def _has_witness(playbook: str, claims: Sequence[Claim]) -> bool:
    """Whether a claim shows the playbook's effect by other means than the target's word."""
    witness = witness_of(playbook)
    return bool(witness) and any(claim.check == witness for claim in claims)


def as_text(audits: Sequence[Audit]) -> str:
    """For a terminal: each promise with its check, below it the sources."""
    lines = []
    for one in audits:
        lines.append(f"{one.scenario_id}: {one.name} ({one.category}), {len(one.promises)} promises")
        lines += [f"  cannot run on this target: {why}" for why in one.not_applicable]
        lines += [f"  {note}" for note in one.notes]
        for promise in one.promises:
            judge = promise.judge or "NOTHING"
            lines.append(f"  {promise.kind:<12} {promise.text}")
            lines.append(f"  {'':<12}   {judge}: {'; '.join(promise.sources) or promise.lacks}")
            if promise.not_judged:
                lines.append(f"  {'':<12}   not judged: the manifest names none of {', '.join(promise.not_judged)}")
            if promise.lacks and promise.sources:
                lines.append(f"  {'':<12}   LACKS: {promise.lacks}")
    return "\n".join(lines)


def as_markdown(audits: Sequence[Audit], of_target: bool = False) -> str:
    """For the docs: what all have in common once, then what each has of its own; the sources of each check last.

    Reasons why a scenario cannot run depend on the machine, and are shown only *of_target*.
    """
    shared = [one for one in audits[0].promises if all(one in other.promises for other in audits)] if audits else []
    lines = [HEAD]
    if len(audits) > 1:
        lines += ["## Every scenario", "", *_table(shared)]
    else:
        shared = []
    for one in audits:
        lines += ["", f"## {one.scenario_id}", "", f"{one.name} ({one.category}).", ""]
        lines += [f"- cannot run on this target: {why}" for why in one.not_applicable if of_target]
        lines += [f"{_cell(note)}.\n" for note in one.notes]
        lines += _table([promise for promise in one.promises if promise not in shared])
    lines += ["", "## What each check reads", "", "| check | sources |", "|---|---|"]
    judges = {promise.judge: promise for one in audits for promise in one.promises if promise.check}
    lines += [f"| {name} | {_cell('; '.join(_common(judges[name])))} |" for name in sorted(judges)]
    return "\n".join(lines) + "\n"


def _common(promise: Promise) -> tuple[str, ...]:
    """Sources of the check whatever it judges; those of a fault stand in the fault's own row."""
    if promise.check != MAGNITUDE_CHECK:
        return promise.sources
    return tuple(one for one in promise.sources if not one.startswith(("samples of ", "witness: ", NO_WITNESS)))


def _table(promises: Sequence[Promise]) -> list[str]:
    lines = ["| kind | promise | check |", "|---|---|---|"]
    for one in promises:
        own = [source for source in one.sources if source not in _common(one)]
        judge = f"{one.judge}, by {', '.join(own)}" if own else one.judge
        if one.lacks:
            judge = f"**{one.lacks}**"
        elif one.not_judged:
            judge += f"; not judged: the manifest names none of {', '.join(one.not_judged)}"
        lines.append(f"| {one.kind} | {_cell(one.text)} | {_cell(judge)} |")
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


HEAD = """\
# Audit of the scenarios

Which promise of a scenario is judged by which check from which sources, on the embedded Grace. Made by
`make audit` (`grace-chaos audit --format md`); a test compares this page with the scenarios. Sources are files of the
[run folder](run-folder.md): kinds of rows of `timeline.jsonl`, names of `signals.csv`, whole files otherwise. A test
runs each check with a recorder and compares what it reads with what it declares.

A fault's magnitude is judged by the samples of its injector, and by the witness that its row names, if any.
"""
