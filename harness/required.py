"""Claims that every run makes, whatever its scenario or its plan.json says: the invariants, and what makes it valid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness import catalog
from harness.model import INVARIANT, Claim, Event, Kind, Plan, Step

RUN_FORMAT = 2  # of the run folder, written into the first event; folders of format 1 have no such key
FORMAT_KEY = "run_format"


def invariant_claims() -> list[Claim]:
    """One claim for each check that declares an invariant. Scenarios may tighten them, never drop them."""
    return [
        Claim(claim=kind.invariant.claim, check=name, group=INVARIANT) for name, kind in catalog.invariants().items()
    ]


def validity_claims(steps: Sequence[Step]) -> list[Claim]:
    """What must hold for any other answer to mean something."""
    claims = [Claim(claim="the baseline was steady", check="baseline_steady", group="validity")]
    for step in steps:
        asked = f"{step.asked.value:g} {step.asked.unit}".strip()
        reached = "took hold" if step.asked.is_state else f"reached {step.asked.name} {asked}"
        text, args = f"{step.step_id} {reached}", {"step_id": step.step_id}
        claims.append(Claim(claim=text, check="fault_attained", args=args, group="validity"))
        if step.asked.name == "paused":
            text = f"a symptom was seen on {step.subject}'s route"
            claims.append(Claim(claim=text, check="symptom_seen", args=args, group="validity"))
    for check, text in (
        ("signals_complete", "every source of signals was heard"),
        ("generator_healthy", "the load generator itself kept up"),
        ("run_complete", "the run came to its end and every fault is healed"),
        ("journal_intact", "the timeline's hash chain is whole"),
    ):
        claims.append(Claim(claim=text, check=check, group="validity"))
    return claims


def completed(plan: Plan, events: Sequence[Event]) -> Plan:
    """*plan* with the required claims that it lacks, so that nobody edits them out of plan.json.

    A run folder of format 1 was made before there were invariants, and is judged without them.
    """
    first = next(iter(events), None)
    run_format = first.detail.get(FORMAT_KEY, 1) if first is not None and first.kind is Kind.RUN_STARTED else RUN_FORMAT
    required = validity_claims(plan.steps)
    if run_format != 1:
        required = [*invariant_claims(), *required]
    present = {_key(claim) for claim in plan.claims}
    lacking = [claim for claim in required if _key(claim) not in present]
    return replace(plan, claims=(*plan.claims, *lacking)) if lacking else plan


def _key(claim: Claim) -> tuple[str, str, bool]:
    return claim.check, str(claim.args.get("step_id", "")), claim.group == INVARIANT
