"""Record + claims → findings → verdict. The same, live and offline."""

from __future__ import annotations

import dis
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import catalog
from harness.ledger import LEDGER
from harness.model import CUT_SHORT, INVARIANT, Claim, Finding, Verdict, overall
from harness.record import Record, cite
from harness.unmet import Unmet
from harness.wave_view import NARROW, idle_steps, narrow, without_steps

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
LEDGER_MISSING = "load_accounted.ledger_missing"
OF_FOLDER = ("journal_intact", "run_complete")  # judged also of a run that tried nothing
OF_EACH = ("each_fault_detected", "all_faults_injected")  # judged by every step of the plan
RAISE = dis.opmap["RAISE_VARARGS"]
DECIDED_AFTER_S = 10.0  # what has not begun this long after its fault ended will not count as begun


def judge(record: Record) -> list[Finding]:
    """One finding a claim. A check that crashes is INCONCLUSIVE, never silent.

    What the target lacks makes every claim of a run that injected nothing NOT_APPLICABLE: nothing was tried. An attack
    on a route that nobody was ever served by was not tried either: what needs it is NOT_APPLICABLE, and all else is
    judged. In a folder that is not as the run left it, nothing is excused. What the target holds beyond a ledger that
    is known to miss requests accuses nobody.
    """
    return _beyond_the_ledger(_judged(record))


def _judged(record: Record) -> list[Finding]:
    claims = record.plan.claims
    if _distrusted(record):
        return [judge_claim(record, claim) for claim in claims]
    if record.lacks and record.first_injection_s is None:
        return [_untried(record, claim, record.lacks) for claim in claims]
    idle = idle_steps(record)
    if not idle:
        return [judge_claim(record, claim) for claim in claims]
    rest = without_steps(record, idle)
    return [_beside(record, rest, claim, idle) for claim in claims]


def _beyond_the_ledger(findings: list[Finding]) -> list[Finding]:
    """A check's `of_whole_ledger` names its causes that hold only where the ledger misses nothing that was sent."""
    partial = next((one for one in findings if LEDGER_MISSING in (one.code, *one.also)), None)
    if partial is None:
        return findings
    found = []
    for one in findings:
        named = getattr(catalog.checks().get(one.check), "of_whole_ledger", ())
        causes = {code.partition(".")[2] for code in (one.code, *one.also)}
        if one.verdict is Verdict.FAIL and causes <= set(named):
            because = f"the ledger misses requests that were sent ({partial.because}); otherwise: {one.because}"
            code = f"{one.check}.ledger_partial"
            cited = tuple(dict.fromkeys((*one.evidence, *partial.evidence)))
            one = replace(one, verdict=Verdict.INCONCLUSIVE, because=because, code=code, also=(), evidence=cited)
        found.append(one)
    return found


def _distrusted(record: Record) -> bool:
    """True for a folder that is not as the run left it, or that cannot be read to its end."""
    return bool(record.chain_problem or record.torn or record.altered)


def _untried(record: Record, claim: Claim, lacks: Sequence[str]) -> Finding:
    """NOT_APPLICABLE, but for what holds of the folder itself; that it was cut short is what was to be done."""
    if claim.check in OF_FOLDER:
        found = judge_claim(record, claim)
        if found.cause != "cut_short":
            return found
    return _lacking(record, claim, lacks)


def _beside(record: Record, rest: Record, claim: Claim, idle: Mapping[str, Unmet]) -> Finding:
    """The finding of a claim of a run whose steps *idle* met nobody; *rest* is the record without them.

    Where no other step is left, what is not a FAIL says nothing of the target: it is NOT_APPLICABLE.
    """
    scope = record.plan.parts.get(claim.of) or tuple(step.step_id for step in record.plan.steps)
    named = {*claim.needs, str(claim.args.get("step_id", ""))} & set(idle)
    if named:
        return _lacking(record, claim, [idle[step_id].lacks for step_id in sorted(named)])
    mine = [step_id for step_id in scope if step_id in idle]
    all_idle = bool(mine) and len(mine) == len(scope)
    of_run = claim.group in (INVARIANT, "validity")
    found = judge_claim(rest if mine and not of_run and _of_steps(claim) else record, claim)
    reaction = all_idle and not of_run and _rests_on_all(claim)
    mute = all_idle and found.verdict is not Verdict.FAIL and claim.check not in OF_FOLDER
    if reaction or (mute and not (of_run and found.verdict is Verdict.PASS)):
        return replace(_lacking(record, claim, [idle[step_id].lacks for step_id in mine]), missing=found.missing)
    return found


def _of_steps(claim: Claim) -> bool:
    """True for a claim that is judged by each step of the plan, or by the requests of its attacks."""
    sources = getattr(catalog.checks().get(claim.check), "sources", ())
    of_ledger = isinstance(sources, tuple) and any(one.startswith(LEDGER) for one in sources)
    return of_ledger or claim.check in OF_EACH or _rests_on_all(claim)


def _lacking(record: Record, claim: Claim, lacks: Sequence[str]) -> Finding:
    evidence = (*cite(record.aborted), record.looked("plan.json"))
    evidence += tuple(f"requests.csv:{line}" for one in record.unmet if one.lacks in lacks for line in one.lines)
    return Finding(
        check=claim.check,
        verdict=Verdict.NOT_APPLICABLE,
        claim=claim.claim,
        because="; ".join(lacks),
        group=claim.group,
        evidence=evidence,
        code=f"{claim.check}.target_lacks",
    )


def judge_claim(record: Record, claim: Claim) -> Finding:
    """The finding of one claim."""
    try:
        found = _found(record, claim)
    except catalog.CatalogError as error:  # a run that was judged with a check of somebody's own
        found = _unusable(claim, "unknown_check", str(error))
    except BaseException as error:  # also SystemExit: a check never ends the run
        if isinstance(error, KeyboardInterrupt) and not _raised_by_code(error):
            raise
        found = _unusable(claim, "crashed", f"the check crashed: {type(error).__name__}: {error}")
    if not found.evidence:  # of an absence: all that happened was looked at
        found = replace(found, evidence=(record.looked("timeline"),))
    return _demanded(record, replace(found, group=claim.group))


def _demanded(record: Record, found: Finding) -> Finding:
    """What a check left unjudged, whole or in part, for want of a manifest key is no matter, unless it is required."""
    required = found.group == INVARIANT and found.missing and found.check in record.plan.require
    if not required or found.verdict not in (Verdict.PASS, Verdict.NOT_APPLICABLE):
        return found
    code, why = f"{found.check}.not_judged", "the scenario requires it"
    if found.verdict is Verdict.PASS:
        code = f"{found.check}.judged_in_part"
        why += f", and the target's manifest does not name {', '.join(found.missing)}"
    return replace(found, verdict=Verdict.INCONCLUSIVE, because=f"{why}; {found.because}", code=code)


def _found(record: Record, claim: Claim) -> Finding:
    if claim.group == INVARIANT and (missing := _without_source(record, claim)):
        return _not_judged(record, claim, missing)
    check = catalog.build_check(claim.check, claim.claim, claim.args)
    found = check.check(narrow(record, claim.of) if claim.of and claim.check in NARROW else record)
    if why := _no_finding_of(claim, found):
        found = _unusable(claim, "returned_nothing", why)
    return _temper(record, claim, found)


def _raised_by_code(error: BaseException) -> bool:
    """True when a `raise` stands where *error* began; a Ctrl-C comes in between any two instructions."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_code[trace.tb_lasti] == RAISE


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
    if not (isinstance(found.missing, tuple) and all(isinstance(one, str) for one in found.missing)):
        return "the check returned missing keys that are no tuple of texts"
    if not isinstance(found.because, str):
        return f"the check returned the reason {found.because!r}, which is no text"
    if not (isinstance(found.code, str) and found.code.startswith(f"{claim.check}.") and found.cause):
        return f"the check returned the code {found.code!r}, which names no cause of {claim.check}"
    codes = found.also if isinstance(found.also, tuple) else (None,)
    if not all(isinstance(one, str) and one.startswith(f"{claim.check}.") for one in codes):
        return f"the check returned {found.also!r} as further codes, which name no causes of {claim.check}"
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
            return replace(found, verdict=Verdict.INCONCLUSIVE, because=because, also=(), code=code)
    if found.verdict is Verdict.FAIL and _rests_on_all(claim):
        short = [fault for fault in record.faults if fault.shortfall]
        if short:
            names = "; ".join(f"{fault.step.step_id}: {fault.shortfall}" for fault in short)
            because = f"not every fault was what was asked ({names}); otherwise: {found.because}"
            return replace(
                found, verdict=Verdict.INCONCLUSIVE, because=because, also=(), code=f"{found.check}.fault_not_as_asked"
            )
    cut = record.aborted is not None or record.finished is None
    if (cut or _distrusted(record)) and found.verdict is Verdict.FAIL:
        because = f"the run was cut short or its record is not as it was left; until then: {found.because}"
        return replace(found, verdict=Verdict.INCONCLUSIVE, because=because, also=(), code=f"{found.check}.{CUT_SHORT}")
    return found


def _rests_on_all(claim: Claim) -> bool:
    """True for a claim that the target reacts to the faults, and that names none of them as the one it needs.

    What must hold however small a fault was, such as no lost work, is judged all the same.
    """
    return not claim.needs and (claim.group in ("safeguard", "playbook") or claim.check in REACTIONS)


def verdict(findings: Sequence[Finding]) -> Verdict:
    """overall() of model.py, under the name of this module."""
    return overall(findings)
