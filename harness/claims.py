"""The three forms of a verification: `name`, `name op number[unit]`, `X restarted within Ns`; or classic's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from harness import classic_claims
from harness.catalog import nearest
from harness.model import Claim

RESTARTED = re.compile(r"^(\w+) restarted within (\d+(?:\.\d+)?)\s*s$")
COMPARED = re.compile(r"^([\w.]+)\s*(>=|<=|==|>|<)\s*(\d+(?:\.\d+)?)\s*([a-z%/]*)$")
NAME = re.compile(r"^[\w.]+$")
# unit of a metric → {unit as written: factor}; a bare number is in the metric's own
WRITTEN = {"": {"": 1.0}, "%": {"": 1.0, "%": 1.0}, "ms": {"": 1.0, "ms": 1.0, "s": 1000.0}}


# How scenarios that were written for Grace call what a check of ours shows.
ALIASES = {
    "every_accepted_intent_processed_exactly_once": "valid_processed",
    "valid_intents_processed": "valid_processed",
    "valid_requests_processed": "valid_processed",
    "every_invalid_intent_rejected": "invalid_rejected",
    "invalid_intents_rejected": "invalid_rejected",
    "invalid_requests_rejected": "invalid_rejected",
    "no_queue_deadlock": "queue_drained",
    "queue_managed": "retro_queue_managed",
    "all_processed": "all_requests_processed",
    "all_analyses_completed": "retros_completed",
    "governance_decisions_consistent": "decisions_consistent",
    "audit_trail_complete": "audit_complete",
    "stalled_workers_detected": "all_safeguards_triggered",
    "stalled_workers_restarted": "workers_restarted",
    "queue_continues_processing": "queue_drained",
    "api_remains_responsive": "api_responsive",
    "operational_throughout": "api_responsive",
    "degraded_but_acceptable": "graceful_degradation",
    "all_kernels_survive": "kernels_survive",
    "playbooks_executed_repeatedly": "playbooks_repeat",
    "system_operational": "api_responsive",
    "system_remains_operational": "api_responsive",
    "playbooks_ran_concurrently": "playbooks_concurrent",
    "concurrent_playbook_execution": "playbooks_concurrent",
    "all_faults_detected": "each_fault_detected",
    "drift_detected": "each_fault_detected",
    "model_drift_detected": "each_fault_detected",
    "fallback_activated": "fallback_model_activated",
    "alerts_sent": "alerts_raised",
}


class ClaimError(Exception):
    """A verification that cannot be checked; the text says why, what is known and what is nearest."""


def parse(text: str, checks: Iterable[str], metrics: Mapping[str, str], kernels: Iterable[str]) -> Claim:
    """The claim that *text* makes; *metrics* says each one's unit.

    A form, a word or a unit that does not fit raises ClaimError: nothing goes unread.
    """
    checks, kernels = set(checks), set(kernels)
    original = classic_claims.FORM.match(text)
    if original:
        return _original(text, original.group(1), original.group(2), checks, metrics, kernels)
    restarted = RESTARTED.match(text)
    if restarted:
        kernel, within = restarted.groups()
        if kernel not in kernels:
            raise ClaimError(f"no kernel is called {kernel!r}.{nearest(kernel, kernels)}")
        return Claim(claim=text, check="restarted", args={"kernel": kernel, "within_s": float(within)})
    compared = COMPARED.match(text)
    if compared:
        name, op, number, unit = compared.groups()
        if name not in metrics:
            raise ClaimError(f"no metric is called {name!r}.{nearest(name, metrics)}")
        units = WRITTEN[metrics[name]]
        if unit not in units:
            known = " or ".join(repr(one) for one in units if one) or "no unit"
            raise ClaimError(f"{name} is compared in {known}, not in {unit!r}")
        args: dict[str, Any] = {"metric": name, "op": op, "number": float(number) * units[unit]}
        return Claim(claim=text, check="metric", args=args)
    if NAME.match(text):
        check = text if text in checks else ALIASES.get(text, text)
        if check not in checks:
            raise ClaimError(f"no check is called {text!r}.{nearest(text, {*checks, *ALIASES})}")
        return Claim(claim=text, check=check)
    raise ClaimError(f"{text!r} has none of the three forms: `name`, `name op number[unit]`, `X restarted within Ns`")


def _original(
    text: str, name: str, said: str, checks: set[str], metrics: Mapping[str, str], kernels: set[str]
) -> Claim:
    """`check_x: words` of the original suite: what it shows stands in the words that it was asked in."""
    compared = classic_claims.compared(name, said)
    if compared:
        if not COMPARED.match(compared):
            raise ClaimError(f"{name}: a comparison such as '< 100' is expected, not {said!r}")
        return replace(parse(compared, checks, metrics, kernels), claim=text)
    try:
        return classic_claims.parse(text, name, said, kernels)
    except classic_claims.WordError as error:
        raise ClaimError(str(error)) from None
