"""Record + claims → findings → verdict. The same, live and offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness import catalog
from harness.model import CUT_SHORT, INVARIANT, Claim, Finding, Verdict, overall
from harness.record import Record, cite
from harness.wave_view import NARROW, narrow

# Checks that ask for a reaction to the faults, whatever the group of their claim.
REACTIONS = (
    "alerts_raised",
    "all_safeguards_triggered",
    "answered_stale",
    "fallback_model_activated",
    "load_shed",
    "playbook_ran",
    "playbooks_concurrent",
    "playbooks_repeat",
    "refused_unrecorded",
    "restarted",
    "retries_refused_cheaply",
    "retro_queue_managed",
    "safeguard_engaged",
    "workers_restarted",
)
DECIDED_AFTER_S = 10.0  # what has not begun this long after its fault ended will not count as begun


def judge(record: Record) -> list[Finding]:
    """One finding a claim. A check that crashes is INCONCLUSIVE, never silent.

    What the target lacks makes every claim NOT_APPLICABLE: nothing was tried, so nothing else can be said. So does an
    attack on a route that nobody was ever served by: what it asked for was not tried either.
    """
    lacks = record.not_applicable
    tried = record.first_injection_s is not None and not any(one.lacks for one in record.unmet)
    if lacks and not tried and not record.chain_problem:
        return [_lacking(record, claim, lacks) for claim in record.plan.claims]
    return [judge_claim(record, claim) for claim in record.plan.claims]


def _lacking(record: Record, claim: Claim, lacks: Sequence[str]) -> Finding:
    because = "; ".join(lacks)
    evidence = (*cite(record.aborted), record.looked("plan.json"))
    evidence += tuple(f"requests.csv:{line}" for one in record.unmet if one.lacks for line in one.lines)
    return Finding(
        check=claim.check,
        verdict=Verdict.NOT_APPLICABLE,
        claim=claim.claim,
        because=because,
        group=claim.group,
        evidence=evidence,
        code=f"{claim.check}.target_lacks",
    )


def judge_claim(record: Record, claim: Claim) -> Finding:
    """The finding of one claim."""
    if claim.group == INVARIANT and (missing := _without_source(record, claim)):
        return _not_judged(record, claim, missing)
    try:
        check = catalog.build_check(claim.check, claim.claim, claim.args)
        found = check.check(narrow(record, claim.of) if claim.of and claim.check in NARROW else record)
        if why := _no_finding_of(claim, found):
            found = _unusable(claim, "returned_nothing", why)
        found = _temper(record, claim, found)
    except KeyboardInterrupt:
        raise
    except catalog.CatalogError as error:  # a run that was judged with a check of somebody's own
        found = _unusable(claim, "unknown_check", str(error))
    except BaseException as error:  # also SystemExit: a check never ends the run
        found = _unusable(claim, "crashed", f"the check crashed: {type(error).__name__}: {error}")
    if not found.evidence:  # of an absence: all that happened was looked at
        found = replace(found, evidence=(record.looked("timeline"),))
    return _demanded(record, replace(found, group=claim.group))


def _demanded(record: Record, found: Finding) -> Finding:
    """What the check itself left unjudged for want of a manifest key is no matter, unless the scenario requires it."""
    unjudged = found.group == INVARIANT and found.verdict is Verdict.NOT_APPLICABLE and found.missing
    if not unjudged or found.check not in record.plan.require:
        return found
    code, because = f"{found.check}.not_judged", f"the scenario requires it; {found.because}"
    return replace(found, verdict=Verdict.INCONCLUSIVE, because=because, code=code)


def _no_finding_of(claim: Claim, found: object) -> str:
    """Why what a check returned is no finding of this claim; "" when it is."""
    if not isinstance(found, Finding):
        return f"the check returned no finding, but {type(found).__name__}"
    if not isinstance(found.verdict, Verdict):
        return f"the check returned the verdict {found.verdict!r}, which is none"
    if (found.check, found.claim) != (claim.check, claim.claim):
        return f"the check returned a finding of {found.check}: {found.claim!r}"
    if not (isinstance(found.evidence, tuple) and all(isinstance(one, str) for one in found.evidence)):
        return "the check returned evidence that is no tuple of texts"
    return ""


def _unusable(claim: Claim, cause: str, because: str) -> Finding:
    """The finding of a check that gave none."""
    code = f"{claim.check}.{cause}"
    return Finding(
        check=claim.check,
        verdict=Verdict.INCONCLUSIVE,
        claim=claim.claim,
        because=because,
        group=claim.group,
        code=code,
    )


def _without_source(record: Record, claim: Claim) -> tuple[str, ...]:
    kind = catalog.invariants().get(claim.check)
    return kind.invariant.missing(record.plan.offers) if kind is not None else ()


def _not_judged(record: Record, claim: Claim, missing: tuple[str, ...]) -> Finding:
    """An invariant that the manifest gives nothing to judge by: no matter, unless the scenario requires it."""
    required = claim.check in record.plan.require
    need = "the scenario requires it, and " if required else ""
    return Finding(
        check=claim.check,
        verdict=Verdict.INCONCLUSIVE if required else Verdict.NOT_APPLICABLE,
        claim=claim.claim,
        because=f"not judged: {need}the target's manifest names none of {', '.join(missing)}",
        group=claim.group,
        evidence=(record.looked("plan.json"),),
        code=f"{claim.check}.not_judged",
        missing=missing,
    )


def _temper(record: Record, claim: Claim, found: Finding) -> Finding:
    """What must not be said: of a fault that was not what was asked, and of a run that was cut short."""
    for step_id in claim.needs:
        shortfall = record.fault(step_id).shortfall
        if shortfall and found.verdict in (Verdict.PASS, Verdict.FAIL):
            because = f"{step_id} was not what was asked ({shortfall}); otherwise: {found.because}"
            code = f"{found.check}.fault_not_as_asked"
            return replace(found, verdict=Verdict.INCONCLUSIVE, because=because, code=code)
    if found.verdict is Verdict.FAIL and _rests_on_all(claim):
        short = [fault for fault in record.faults if fault.shortfall]
        if short:
            names = "; ".join(f"{fault.step.step_id}: {fault.shortfall}" for fault in short)
            because = f"not every fault was what was asked ({names}); otherwise: {found.because}"
            return replace(
                found, verdict=Verdict.INCONCLUSIVE, because=because, code=f"{found.check}.fault_not_as_asked"
            )
    cut = record.aborted is not None or record.finished is None
    if (cut or record.chain_problem or record.torn or record.altered) and found.verdict is Verdict.FAIL:
        because = f"the run was cut short or its record is not as it was left; until then: {found.because}"
        return replace(found, verdict=Verdict.INCONCLUSIVE, because=because, code=f"{found.check}.{CUT_SHORT}")
    return found


def _rests_on_all(claim: Claim) -> bool:
    """True for a claim that the target reacts to the faults, and that names none of them as the one it needs.

    What must hold however small a fault was, such as no lost work, is judged all the same.
    """
    return not claim.needs and (claim.group in ("safeguard", "playbook") or claim.check in REACTIONS)


def verdict(findings: Sequence[Finding]) -> Verdict:
    """overall() of model.py, under the name of this module."""
    return overall(findings)
